-- What the promotion rule looks at, one row a task: the RL policy (iterative; thinking where it was evaluated so) beside chance and the champion.
with main as (
    select coalesce(bool_or(thinking), true) as thinking from evaluations where batch_id = $batch_id and arm = 'rl' and strategy = 'iterative'
),
means as (
    select task,
           max(value) filter (where arm = 'rl' and metric = 'RR') as rr,
           max(lower) filter (where arm = 'rl' and metric = 'RR') as rr_lower,
           max(value) filter (where arm = 'rl' and metric = 'malformed') as malformed,
           sum(value) filter (where arm = 'rl' and metric in ('prompt_tokens', 'completion_tokens')) as tokens,
           max(value) filter (where arm = 'random' and metric = 'RR') as random_rr,
           sum(value) filter (where arm = 'champion' and metric in ('prompt_tokens', 'completion_tokens')) as champion_tokens
    from evaluations
    where batch_id = $batch_id and ((strategy = 'iterative' and thinking = (select thinking from main)) or arm = 'random')
    group by task
)
select m.task, m.rr, m.rr_lower, m.malformed, m.tokens, m.random_rr, m.champion_tokens,
       c.difference, c.lower as difference_lower, c.upper as difference_upper
from means m
left join comparisons c
  on c.batch_id = $batch_id and c.task = m.task and c.arm = 'rl' and c.against = 'champion'
 and c.metric = 'RR' and c.strategy = 'iterative' and c.thinking = (select thinking from main)
order by m.task
