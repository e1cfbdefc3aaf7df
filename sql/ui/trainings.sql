-- Finished trainings, the latest first.
select batch_id, finished_at from stage_runs where stage = 'train' order by finished_at desc
