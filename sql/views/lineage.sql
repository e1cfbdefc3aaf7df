create or replace view lineage as
with links as (
    select stage, batch_id, unnest(case when len(inputs) = 0 then [null] else inputs end) as input_id from stage_runs
)
select r.stage, r.batch_id, i.stage as input_stage, l.input_id as input_batch_id, r.read_snapshot, r.code, r.rows_written, r.flow_run, r.finished_at
from links l
join stage_runs r on r.stage = l.stage and r.batch_id = l.batch_id
left join stage_runs i on i.batch_id = l.input_id
order by r.finished_at, input_stage;
comment on view lineage is 'Stage runs with what each was made from: one row per run and input, inputs null for the first stage.';
