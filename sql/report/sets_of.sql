-- The latest batch of candidate sets that holds test queries of a task.
select s.batch_id
from candidate_sets s join stage_runs r on r.batch_id = s.batch_id
where s.task = $task and s.split = 'test'
order by r.finished_at desc
limit 1
