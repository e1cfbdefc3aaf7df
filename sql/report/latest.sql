-- The evaluation that finished last.
select batch_id from stage_runs where stage = 'evaluate' order by finished_at desc limit 1
