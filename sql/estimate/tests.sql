-- Test queries of a task among the candidate sets of one batch.
select count(*) from candidate_sets where batch_id = $batch_id and task = $task and split = 'test'
