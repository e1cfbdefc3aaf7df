-- Queries of a user's own among those that verdicts name.
update promotion_tests set query_ids = list_filter(query_ids, lambda query: not list_contains(
    (select coalesce(list(query_id), []) from candidate_sets where set_id in (select value from erased where "column" = 'set_id')), query
))
where query_ids is not null
