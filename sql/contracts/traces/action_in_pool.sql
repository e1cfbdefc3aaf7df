-- Traces that name a label outside their pool, or one twice.
-- remedy: parse with the pool as shown
select trace_id, mode, pool, action
from {batch}
where not list_has_all(pool, action) or len(list_distinct(action)) <> len(action)
