-- Queries of one batch of candidate sets.
select task, query from candidate_sets where batch_id = $batch_id
