-- snapshot_id is DuckLake's own column: the snapshot whose commit wrote the row, which is the one that wrote the run's rows.
create or replace view lineage as
with runs as (
    select stage, batch_id, inputs, read_snapshot, snapshot_id as written_snapshot, code, rows_written, flow_run, finished_at from stage_runs
),
links as (
    select stage, batch_id, unnest(case when len(inputs) = 0 then [null] else inputs end) as input_id from runs
)
select r.stage, r.batch_id, r.read_snapshot, r.written_snapshot, i.stage as input_stage, l.input_id as input_batch_id, i.written_snapshot as input_snapshot,
       r.code, r.rows_written, r.flow_run, r.finished_at
from links l
join runs r on r.stage = l.stage and r.batch_id = l.batch_id
left join runs i on i.batch_id = l.input_id
order by r.finished_at, r.batch_id, input_stage;
comment on view lineage is 'Which stage run read which snapshot and wrote which, and what it was made from: one row per run and input, the input with the snapshot that wrote it (input_snapshot); inputs are null for the first stage.';
