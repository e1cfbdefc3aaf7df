-- One candidate set as evaluate/sets.sql gives many.
select s.set_id, s.task, s.split, s.group_id, s.query, s.query_items,
       list({'label': c.label, 'item_id': c.item_id, 'text': c.text, 'relevance': c.relevance, 'prior': c.prior} order by c.slot) as pool
from candidate_sets s
join candidates c on c.batch_id = s.batch_id and c.set_id = s.set_id
where s.batch_id = $batch_id and s.set_id = $set_id
group by all
