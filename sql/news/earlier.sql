-- One run as the contracts' measures of drift want the runs that they compare with.
select batch_id as key, finished_at from stage_runs where batch_id = $batch_id
