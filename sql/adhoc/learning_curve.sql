-- Did RL learn? Mean reward of the rollouts, smoothed over nine optimizer steps.
-- 0 is what a random valid answer earns; an invalid one earns -1.
select task, strategy, train_step, episodes, round(reward, 4) as reward,
       round(avg(reward) over (partition by batch_id, task, strategy order by train_step rows between 4 preceding and 4 following), 4) as smoothed,
       round(malformed, 3) as malformed
from reward_curve
where batch_id = (select batch_id from stage_runs where stage = 'train' order by finished_at desc limit 1)
order by task, strategy, train_step
