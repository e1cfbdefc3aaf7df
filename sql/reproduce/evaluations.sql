-- The means of an evaluation as the lake holds them now.
select task, arm, model, strategy, thinking, metric, value, lower, upper, queries from evaluations where batch_id = $batch_id
