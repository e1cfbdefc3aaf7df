-- Tasks whose share of rejected traces is more than 0.05 from that of the last accepted batch, beyond chance (4 standard errors).
-- remedy: look at what changed in the source or the parameters; nothing is kept out for it
with last as (
    select o.task, arg_max(o.batch_id, e.finished_at) as batch_id
    from traces o
    join earlier_of_batch e on e.key = o.batch_id
    group by o.task
),
before as (
    select o.task, count(*) as n, avg((not o.accepted)::integer) as share from traces o semi join last l on l.task = o.task and l.batch_id = o.batch_id group by o.task
),
now as (
    select task, count(*) as n, avg((not accepted)::integer) as share from {batch} group by task
)
select n.task, round(b.share, 4) as share_before, round(n.share, 4) as share_now
from now n
join before b on b.task = n.task
where abs(n.share - b.share) > 0.05 and abs(n.share - b.share) > 4 * sqrt(b.share * (1 - b.share) / b.n + n.share * (1 - n.share) / n.n)
