-- The newest candidate sets of a task: the key of the finished candidates stage that drew them, where they are there still.
select r.batch_id
from stage_runs r
where r.stage = 'candidates'
  and exists (from candidate_sets s where s.batch_id = r.batch_id and s.task = $task)
order by r.snapshot_id desc
limit 1
