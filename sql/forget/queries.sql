-- Queries of a user's own among those that verdicts name.
update promotion_tests t set query_ids = list_filter(t.query_ids, lambda query: not list_contains(g.gone, query))
from (select coalesce(list(query_id), []) as gone from candidate_sets where set_id in (select value from erased where "column" = 'set_id')) g
where list_has_any(t.query_ids, g.gone)
