-- Requests with another number of documents than they say.
-- remedy: write a request with all its documents
select r.set_id, r.task, r.pool_size, count(c.set_id) as documents
from {batch} r
left join staged_served_candidates c on c.set_id = r.set_id
group by r.set_id, r.task, r.pool_size
having count(c.set_id) <> r.pool_size
