-- Queries without any judgement.
-- remedy: add a judgement, or drop the query
select q.task, q.query_id, left(q.text, 80) as text
from {batch} q
anti join staged_qrels r on r.task = q.task and r.query_id = q.query_id
