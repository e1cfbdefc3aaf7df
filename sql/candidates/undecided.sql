-- How many queries have candidates that are all equal: no order of them is better than another.
select count(*) as queries
from (
    select r.query_id
    from qrels r
    where r.batch_id = $batch_id and r.task = $task
    group by r.query_id
    having min(r.relevance) = max(r.relevance)
)
