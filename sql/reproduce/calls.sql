-- Every model call of an evaluation, whole (call: a snapshot may lack younger columns), with the arm that made it.
select e.arm, e.model, e.strategy, e.thinking, e.seed, e.set_id, e.task, s as call
from steps s
join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
where s.batch_id = $batch_id
order by e.arm, e.model, e.strategy, e.thinking, e.task, e.set_id, s.step
