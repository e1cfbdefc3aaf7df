-- What did a likelihood policy think of each candidate at a step, and what did the step earn?
-- Of the latest evaluation's rl arm the three episodes that earned least; put any other episode_id into `chosen`. `score` is in nats, `probability`
-- softmax(−score / temperature) of being excluded from this pool (in mode rank, of being named first); scores are null where an answer was written.
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1),
chosen as (
    select e.batch_id, e.episode_id, e.task, e.set_id, e.reward as episode_reward
    from episodes e
    join latest l on l.batch_id = e.batch_id
    where e.arm = 'rl'
    order by e.reward, e.episode_id
    limit 3
),
shown as (
    select c.*, s.step, s.mode, s.reward, s.temperature, s.taken, s.scores, s.log_likelihoods, unnest(s.pool) as label, unnest(range(1, len(s.pool) + 1)) as place
    from chosen c
    join steps s on s.batch_id = c.batch_id and s.episode_id = c.episode_id
)
select s.task, s.episode_id, s.step, s.mode, s.label, round(s.log_likelihoods[s.place], 3) as score, round(s.temperature, 3) as temperature,
       round(exp(s.scores[s.place]), 3) as probability, list_contains(s.taken, s.label) as taken, k.relevance, round(s.reward, 3) as step_reward
from shown s
join latest l on true
join candidates k on list_contains(l.inputs, k.batch_id) and k.set_id = s.set_id and k.label = s.label
order by s.episode_reward, s.episode_id, s.step, score desc, s.label
