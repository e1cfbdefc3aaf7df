-- Runs of a stage, newest first: what decided the output of each.
select batch_id, parameters, inputs, identity, finished_at
from stage_runs
where stage = $stage
order by finished_at desc, batch_id
