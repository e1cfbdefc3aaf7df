-- Tasks whose mean rating is more than a quarter of a standard deviation from that of the last accepted batch (30 ratings or more in both).
-- remedy: look at what changed in the source or the parameters; nothing is kept out for it
with last as (
    select o.task, arg_max(o.batch_id, e.finished_at) as batch_id
    from interactions o
    join earlier_of_batch e on e.key = o.batch_id
    group by o.task
),
before as (
    select o.task, count(o.rating) as n, avg(o.rating) as mean, stddev_samp(o.rating) as spread from interactions o semi join last l on l.task = o.task and l.batch_id = o.batch_id group by o.task
),
now as (
    select task, count(rating) as n, avg(rating) as mean from {batch} group by task
)
select n.task, round(b.mean, 3) as rating_before, round(n.mean, 3) as rating_now
from now n
join before b on b.task = n.task
where b.n >= 30 and n.n >= 30 and abs(n.mean - b.mean) > 0.25 * b.spread
