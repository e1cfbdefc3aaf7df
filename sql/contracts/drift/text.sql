-- Tasks whose `{column}` is on average a fifth shorter, or a quarter longer, than in the last accepted batch of the stage (30 rows or more in both).
-- remedy: look at what changed in the source or the parameters; nothing is kept out for it
with last as (
    select o.task, arg_max(o.batch_id, e.finished_at) as batch_id
    from {table} o
    join earlier_of_batch e on e.key = o.batch_id
    group by o.task
),
before as (
    select o.task, count(*) as n, avg(length(o.{column})) as characters from {table} o semi join last l on l.task = o.task and l.batch_id = o.batch_id group by o.task
),
now as (
    select task, count(*) as n, avg(length({column})) as characters from {batch} group by task
)
select n.task, round(b.characters, 1) as characters_before, round(n.characters, 1) as characters_now
from now n
join before b on b.task = n.task
where b.n >= 30 and n.n >= 30 and (n.characters < 0.8 * b.characters or n.characters > 1.25 * b.characters)
