-- Requests without exactly one order in which they were shown, and orders without a request.
-- remedy: write a request and its order together
select coalesce(r.set_id, o.set_id) as set_id, count(o.set_id) as orders, count(r.set_id) as requests
from {batch} o
full join staged_served_requests r on r.set_id = o.set_id
group by all
having count(o.set_id) <> 1 or count(r.set_id) <> 1
