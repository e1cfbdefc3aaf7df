-- A stage run and everything that it was made from, in the order in which it was made.
with recursive upstream as (
    select stage, batch_id, inputs from stage_runs where batch_id = $batch_id
    union
    select s.stage, s.batch_id, s.inputs from stage_runs s join upstream u on list_contains(u.inputs, s.batch_id)
)
select r.stage, r.batch_id, r.inputs, r.parameters, r.code, r.read_snapshot, r.rows_written, r.details, r.flow_run, r.finished_at
from stage_runs r
where r.batch_id in (select batch_id from upstream)
order by r.finished_at, r.stage
