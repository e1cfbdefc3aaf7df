-- Steps that name or act on a label outside the pool as shown, or act on none (a gate may, where it has scored the labels).
-- remedy: parse with the pool as shown; state a fallback for invalid answers
select episode_id, step, pool, action, taken
from {batch}
where not list_has_all(pool, action) or not list_has_all(pool, taken) or len(taken) = 0 and scores is null
