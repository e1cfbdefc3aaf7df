-- Groups (users, sources) of which any query lies in one of the candidate batches $batches: a model that was made from them may know them.
select distinct task, group_id from candidate_sets where list_contains($batches, batch_id)
