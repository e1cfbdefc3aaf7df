-- Candidate sets with their pools as a list of structs in shown order; at most $most sets a task and split.
-- Which: by a digest of task and query, not by set_id, which changes with the code that built the pool; so two versions are measured on the same queries.
with chosen as (
    select set_id, task, split, group_id, query, query_items,
           row_number() over (partition by task, split order by md5(task || '|' || query_id), query_id) as place
    from candidate_sets
    where batch_id = $batch_id
      and ($split is null or split = $split)
      and ($task is null or task = $task)
)
select s.set_id, s.task, s.split, s.group_id, s.query, s.query_items,
       list({'label': c.label, 'item_id': c.item_id, 'text': c.text, 'relevance': c.relevance, 'prior': c.prior} order by c.slot) as pool
from chosen s
join candidates c on c.set_id = s.set_id and c.batch_id = $batch_id
where $most is null or s.place <= $most
group by all
order by s.task, s.split, any_value(s.place)
