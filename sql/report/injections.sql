-- Of every model of an evaluation the attack that raises who brings it most (view injection), by task and way.
select distinct e.task, e.arm, e.strategy, e.thinking, i.text, i.rise, i.lower, i.upper
from evaluations e
join injection i on i.model = e.model and i.task = e.task and i.strategy = e.strategy and i.thinking = e.thinking
where e.batch_id = $batch_id
