create or replace view malformed as
select e.stage, e.batch_id, e.task, e.model, e.arm, e.strategy, e.thinking, s.reason, count(*) as answers,
       count(*) / sum(count(*)) over (partition by e.stage, e.batch_id, e.task, e.model, e.arm, e.strategy, e.thinking) as share
from steps s
join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
group by e.stage, e.batch_id, e.task, e.model, e.arm, e.strategy, e.thinking, s.reason;
comment on view malformed is 'Answers by why they are invalid (reason; empty where valid), per stage run, task, model, strategy and thinking; share is of that line''s answers.';
