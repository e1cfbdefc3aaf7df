-- Is the policy collapsing? Distinct answers among the rollouts of one prompt, early and late in RL.
-- 1 means that every rollout differs, 1 / (rollouts per prompt) that all are the same text.
with groups as (
    select e.batch_id, e.task, e.train_step, s.mode, s.prompt, count(*) as rollouts, count(distinct s.completion) as texts, count(distinct s.action) as actions
    from steps s
    join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
    where e.stage = 'train'
    group by e.batch_id, e.task, e.train_step, s.mode, s.prompt
)
select batch_id, task, mode, case when train_step <= half then 'first half' else 'second half' end as phase, count(*) as prompts,
       round(avg(texts / rollouts), 3) as distinct_texts, round(avg(actions / rollouts), 3) as distinct_actions
from (select *, max(train_step) over (partition by batch_id) / 2 as half from groups)
group by batch_id, task, mode, phase
order by batch_id, task, mode, phase
