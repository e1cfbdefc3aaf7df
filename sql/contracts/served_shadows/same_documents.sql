-- Shadow rankings of other documents than those of the request, or on another task.
-- remedy: give the shadow the request as it was answered
with requests as (
    select set_id, task, pool_size from staged_served_requests
    union
    select set_id, task, pool_size from served_requests
)
select s.set_id, s.model, r.task, e.task as shadow_task, r.pool_size, e.pool
from {batch} s
join requests r on r.set_id = s.set_id
join staged_episodes e on e.set_id = s.set_id and e.model = s.model and e.arm = 'shadow'
where e.task <> r.task or len(e.pool) <> r.pool_size
