-- How much of RL's generation taught nothing?
-- Rollouts of one prompt form a group; where all earn the same, every advantage is 0 and the gradient with it.
with groups as (
    select e.train_step, e.task, s.mode, s.prompt, count(*) as rollouts, max(s.reward) - min(s.reward) as spread, avg(s.reward) as reward
    from steps s
    join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
    where e.stage = 'train' and e.batch_id = (select batch_id from stage_runs where stage = 'train' order by finished_at desc limit 1)
    group by e.train_step, e.task, s.mode, s.prompt
)
select task, mode, count(*) as groups, round(avg((spread < 1e-9)::integer), 3) as dead,
       round(avg((spread < 1e-9 and reward > 0)::integer), 3) as all_right, round(avg((spread < 1e-9 and reward <= 0)::integer), 3) as all_wrong
from groups
where rollouts > 1
group by task, mode
order by task, mode
