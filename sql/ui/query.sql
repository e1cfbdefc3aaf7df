-- The query of one set.
select query, coalesce(query_items, []) as query_items, split from candidate_sets where batch_id = $candidates and set_id = $set_id
