-- What is the champion made of? Every stage run that it rests on, with the snapshot each read and the one it wrote.
-- `ranker lake reproduce` computes its evaluation again from these.
with recursive champion as (
    select batch_id, name || ' ' || version as version from model_versions where alias = 'champion' order by registered_at desc limit 1
),
upstream as (
    select r.stage, r.batch_id, r.inputs from stage_runs r join champion c on c.batch_id = r.batch_id
    union
    select r.stage, r.batch_id, r.inputs from stage_runs r join upstream u on list_contains(u.inputs, r.batch_id)
)
select c.version, r.stage, r.batch_id, r.read_snapshot, r.snapshot_id as written_snapshot, r.code, r.rows_written, r.finished_at
from stage_runs r
semi join upstream u on u.batch_id = r.batch_id
cross join champion c
order by list_position(['ingest', 'candidates', 'distill', 'train', 'evaluate', 'register'], r.stage), r.finished_at
