-- Does it matter where the gold was shown?
-- Per place as shown (1-based): how often it was put first. Pools are shuffled, so an unbiased policy gives equal shares.
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1),
gold as (
    select c.set_id, c.slot + 1 as place
    from candidates c
    join latest l on list_contains(l.inputs, c.batch_id)
    qualify c.relevance = max(c.relevance) over (partition by c.batch_id, c.set_id)
)
select e.task, e.arm, e.strategy, len(e.pool) as given, g.place, count(*) as queries, round(avg(e.hit_1), 3) as put_first
from episodes e
join latest l on l.batch_id = e.batch_id
join gold g on g.set_id = e.set_id
where e.thinking
group by e.task, e.arm, e.strategy, given, g.place
order by e.task, e.arm, e.strategy, given, g.place
