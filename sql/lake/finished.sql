-- The latest finished run of a stage under a key whose rows are there, and the snapshot that committed it.
select stage, batch_id, snapshot_id, rows_written, details
from stage_runs
where stage = $stage and batch_id = $key and forgotten_at is null
order by snapshot_id desc
limit 1
