-- What training users touched, in time order (held-out users never): for the data-driven start of item embeddings.
select i.task, i.user_id, i.item_id
from interactions i
join (select unnest(inputs) as batch_id from stage_runs where stage = 'candidates' and batch_id = $batch_id) r using (batch_id)
where exists (select 1 from candidate_sets s where s.batch_id = $batch_id and s.split = 'train' and s.task = i.task and s.group_id = i.user_id)
  and not exists (select 1 from candidate_sets s where s.batch_id = $batch_id and s.split = 'test' and s.task = i.task and s.group_id = i.user_id)
order by i.task, i.user_id, i.happened_at, i.item_id
