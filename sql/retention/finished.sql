-- Finished stage runs, and hours since.
select batch_id as key, date_diff('second', finished_at, now()) / 3600.0 as hours from stage_runs
