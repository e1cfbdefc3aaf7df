-- Runs of a stage, newest first: what decided the output of each, and whether its rows were taken away since.
select batch_id, parameters, inputs, identity, finished_at, forgotten_at is not null as forgotten
from stage_runs
where stage = $stage
order by finished_at desc, batch_id
