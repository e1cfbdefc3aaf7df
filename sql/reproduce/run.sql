-- An evaluation as recorded: with which parameters, the snapshots that it read and wrote, and the runs that it read.
select r.parameters, r.read_snapshot, r.snapshot_id as written_snapshot,
       any_value(i.batch_id) filter (where i.stage = 'candidates') as sets, any_value(i.batch_id) filter (where i.stage = 'distill') as traces
from stage_runs r
join stage_runs i on list_contains(r.inputs, i.batch_id)
where r.stage = 'evaluate' and r.batch_id = $batch_id
group by r.parameters, r.read_snapshot, written_snapshot
