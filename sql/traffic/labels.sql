-- Documents shown at least $shown times for a query on $task, with the grade 1 where their corrected click rate is at least $relevant.
select query, item_id, text, shown, clicks, relevance, (relevance >= $relevant)::integer as grade
from relevance_of_clicks
where task = $task and trim(query) <> '' and not starts_with(query, 'hashed:') and shown >= $shown
order by query, relevance desc, item_id
