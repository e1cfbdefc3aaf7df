-- What was the reward made of, as training went on?
-- Four quarters of the run. A rising total with a falling task part means that the policy learns the form and not the ranking.
with rollouts as (
    select e.task, ntile(4) over (partition by e.batch_id order by e.train_step) as quarter, s.*
    from steps s
    join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
    where e.stage = 'train' and e.batch_id = (select batch_id from stage_runs where stage = 'train' order by finished_at desc limit 1)
)
select task, mode, quarter, count(*) as answers, round(avg(reward), 4) as reward, round(avg(reward_format), 4) as format,
       round(avg(reward_task), 4) as task_part, round(avg(reward_trace), 4) as trace, round(avg(completion_tokens), 1) as tokens
from rollouts
group by task, mode, quarter
order by task, mode, quarter
