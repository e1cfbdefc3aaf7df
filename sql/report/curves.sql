-- What the trainer logged, for plots: one row a phase, name and step.
select phase, name, step, value
from training_metrics
where batch_id = $batch_id and list_contains($names, name)
order by phase, name, step
