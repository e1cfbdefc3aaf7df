-- Every item that the tasks of one candidates batch know, from the ingest batch that it read.
select i.task, i.item_id
from items i
join (select unnest(inputs) as batch_id from stage_runs where stage = 'candidates' and batch_id = $batch_id) r using (batch_id)
order by i.task, i.item_id
