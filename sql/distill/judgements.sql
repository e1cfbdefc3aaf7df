-- Judgements of training queries; `splits` is a registered frame (group_id, split).
select q.query_id, q.text as query, r.item_id, r.relevance
from queries q
join splits s on s.group_id = q.group_id and s.split = 'train'
join qrels r on r.batch_id = q.batch_id and r.task = q.task and r.query_id = q.query_id
where q.batch_id = $batch_id and q.task = $task
order by q.query_id, r.item_id
