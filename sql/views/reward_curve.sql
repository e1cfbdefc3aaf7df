create or replace view reward_curve as
select batch_id, task, strategy, train_step, count(*) as episodes, avg(reward) as reward, stddev_samp(reward) as spread,
       sum(invalid_calls) / sum(calls) as malformed, avg(completion_tokens) as completion_tokens
from episodes
where train_step is not null
group by batch_id, task, strategy, train_step
order by batch_id, task, strategy, train_step;
comment on view reward_curve is 'Rollouts of RL training by optimizer step: mean reward (0 is chance), its spread, share of invalid answers, tokens per answer.';
