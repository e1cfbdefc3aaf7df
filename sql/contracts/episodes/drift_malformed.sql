-- Tasks and arms whose share of malformed answers is more than 0.05 above that of the last accepted batch, beyond chance (4 standard errors).
-- remedy: look at the reasons (view malformed): a prompt, a parser or a model has changed; nothing is kept out for it
with last as (
    select o.task, arg_max(o.batch_id, e.finished_at) as batch_id
    from episodes o
    join earlier_of_batch e on e.key = o.batch_id
    group by o.task
),
before as (
    select o.task, o.arm, o.strategy, o.thinking, sum(o.calls) as n, sum(o.invalid_calls) / sum(o.calls) as share
    from episodes o
    semi join last l on l.task = o.task and l.batch_id = o.batch_id
    group by o.task, o.arm, o.strategy, o.thinking
),
now as (
    select task, arm, strategy, thinking, sum(calls) as n, sum(invalid_calls) / sum(calls) as share from {batch} group by task, arm, strategy, thinking
)
select n.task, n.arm, n.strategy, n.thinking, round(b.share, 4) as share_before, round(n.share, 4) as share_now
from now n
join before b on b.task = n.task and b.arm = n.arm and b.strategy = n.strategy and b.thinking = n.thinking
where n.share - b.share > 0.05 and n.share - b.share > 4 * sqrt(b.share * (1 - b.share) / b.n + n.share * (1 - n.share) / n.n)
