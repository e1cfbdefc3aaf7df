-- Accepted traces that do not name one exclusion, or the whole order.
-- remedy: reject what is incomplete
select trace_id, mode, pool, action
from {batch}
where accepted and len(action) <> case mode when 'exclude' then 1 else len(pool) end
