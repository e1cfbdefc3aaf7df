-- Evaluations of this lake, the latest first.
select r.batch_id, r.finished_at, r.flow_run, string_agg(distinct e.task, ', ' order by e.task) as tasks
from stage_runs r
join evaluations e on e.batch_id = r.batch_id
where r.stage = 'evaluate'
group by r.batch_id, r.finished_at, r.flow_run
order by r.finished_at desc
