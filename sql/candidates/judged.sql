-- Every judgement with the side of its query and its place in a seeded digest's order; `splits` is a registered frame.
select r.query_id, r.item_id, r.relevance, r.first_stage, s.split,
       row_number() over (partition by r.query_id order by md5(concat_ws('|', $seed, 'judged', r.query_id, r.item_id)), r.item_id) as draw
from qrels r
join queries q on q.batch_id = r.batch_id and q.task = r.task and q.query_id = r.query_id
join splits s on s.group_id = q.group_id
where r.batch_id = $batch_id and r.task = $task
order by r.query_id, r.item_id
