-- Documents of a request that is not in this batch.
-- remedy: write a request and its documents together
select c.set_id, c.label, c.item_id
from {batch} c
anti join staged_served_requests r on r.set_id = c.set_id
