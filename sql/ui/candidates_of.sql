-- The batch of candidate sets that an evaluation ranked.
select c.batch_id
from stage_runs e
join stage_runs c on c.stage = 'candidates' and list_contains(e.inputs, c.batch_id)
where e.batch_id = $batch_id and e.stage = 'evaluate'
limit 1
