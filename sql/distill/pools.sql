-- Every candidate of a task's sets, in shown order.
select s.set_id, s.split, s.group_id, s.query_id, s.query, s.query_items, c.slot, c.label, c.item_id, c.text, c.relevance, c.prior
from candidate_sets s
join candidates c on c.batch_id = s.batch_id and c.set_id = s.set_id
where s.batch_id = $batch_id and s.task = $task
order by s.query_id, c.slot
