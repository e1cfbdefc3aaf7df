-- Sets whose pool has not exactly the size that the stage's parameters promise for the task (candidates.pool_size, else the task's own).
-- remedy: lower candidates.pool_size for this task, or give it more items
with promised as (
    select t.shape ->> 0 as task, coalesce(p.parameters -> 'params' -> 'pool_size' ->> (t.shape ->> 0), t.shape ->> 2)::integer as pool_size
    from parameters_of_batch p, unnest((p.parameters -> 'tasks')::json[]) t(shape)
),
pools as (
    select set_id, count(*) as candidates from staged_candidates group by set_id
)
select s.set_id, s.task, p.pool_size as promised, s.pool_size, coalesce(c.candidates, 0) as candidates
from {batch} s
left join promised p on p.task = s.task
left join pools c on c.set_id = s.set_id
where p.pool_size is null or s.pool_size <> p.pool_size or coalesce(c.candidates, 0) <> p.pool_size
