-- The rows of a batch are there no more.
update stage_runs set forgotten_at = now() where batch_id = $key
