-- Every model call of an evaluation, with the arm that made it.
select e.arm, e.model, e.strategy, e.thinking, e.seed, e.set_id, e.task, s.step, s.pool, s.prompt, s.completion, s.reason,
       s.prompt_tokens, s.completion_tokens, s.milliseconds
from steps s
join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
where s.batch_id = $batch_id
order by e.arm, e.model, e.strategy, e.thinking, e.task, e.set_id, s.step
