-- What every model of one validation (`ranker.studies.curves`) got on every query, with the query's group.
select e.task, e.arm, e.set_id, s.group_id, e.rr, e.invalid_calls / e.calls as malformed
from episodes e
join candidate_sets s on s.set_id = e.set_id and s.batch_id = $sets
where e.batch_id = $batch_id and e.stage = 'validate'
order by e.task, e.arm, e.set_id
