-- Is the policy only good at what is popular?
-- Quality by how the gold's first-stage score (popularity, BM25) stands in its pool: 1 is the highest of the pool.
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1),
placed as (
    select c.set_id, c.relevance, c.batch_id, rank() over (partition by c.batch_id, c.set_id order by c.prior desc) as prior_place,
           max(c.relevance) over (partition by c.batch_id, c.set_id) as most
    from candidates c
    join latest l on list_contains(l.inputs, c.batch_id)
),
gold as (
    select set_id, min(prior_place) as prior_place from placed where relevance = most group by set_id
)
select e.task, e.arm, g.prior_place, count(*) as queries, round(avg(e.rr), 3) as mrr
from episodes e
join latest l on l.batch_id = e.batch_id
join gold g on g.set_id = e.set_id
where e.strategy = 'iterative' and e.thinking
group by e.task, e.arm, g.prior_place
order by e.task, e.arm, g.prior_place
