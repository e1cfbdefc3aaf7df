-- Candidates that stand in the history of their own query.
-- remedy: draw candidates outside the history
select c.set_id, c.item_id, c.origin
from {batch} c
join staged_candidate_sets s on s.set_id = c.set_id
where list_contains(s.query_items, c.item_id)
