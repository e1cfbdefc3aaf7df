-- Tasks with less than half or more than twice the rows in `{table}` that the last accepted batch of the stage had.
-- remedy: look at what changed in the source or the parameters; nothing is kept out for it
with last as (
    select o.task, arg_max(o.batch_id, e.finished_at) as batch_id
    from {table} o
    join earlier_of_batch e on e.key = o.batch_id
    group by o.task
),
before as (
    select o.task, count(*) as n from {table} o semi join last l on l.task = o.task and l.batch_id = o.batch_id group by o.task
),
now as (
    select task, count(*) as n from {batch} group by task
)
select n.task, b.n as rows_before, n.n as rows_now
from now n
join before b on b.task = n.task
where n.n < 0.5 * b.n or n.n > 2 * b.n
