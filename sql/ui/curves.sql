-- What one training logged.
select phase, step, name, value from training_metrics where batch_id = $batch_id order by phase, step, name
