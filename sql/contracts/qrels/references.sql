-- Judgements of a query or an item that was not read.
-- remedy: add the query or item, or drop the row
select r.task, r.query_id, r.item_id, q.query_id is null as query_missing, i.item_id is null as item_missing
from {batch} r
left join staged_queries q on q.task = r.task and q.query_id = r.query_id
left join staged_items i on i.task = r.task and i.item_id = r.item_id
where q.query_id is null or i.item_id is null
