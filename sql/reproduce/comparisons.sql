-- The paired differences of an evaluation as the lake holds them now.
select task, strategy, thinking, metric, arm, against, difference, lower, upper, queries from comparisons where batch_id = $batch_id
