-- At which step does an elimination throw out its best candidate, and was the answer valid then?
-- Survivors are the episodes that kept one to the end. Early losses cost more: everything kept after them ranks above the gold.
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1),
gold as (
    select c.set_id, c.label
    from candidates c
    join latest l on list_contains(l.inputs, c.batch_id)
    qualify c.relevance = max(c.relevance) over (partition by c.batch_id, c.set_id)
)
select e.task, e.arm, e.thinking, s.step, len(s.pool) as shown, count(*) as calls, count(g.label) as gold_lost,
       round(count(g.label) / count(*), 3) as share, count(g.label) filter (where not s.valid) as by_invalid_answer
from steps s
join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
join latest l on l.batch_id = e.batch_id
left join gold g on g.set_id = e.set_id and g.label = s.taken[1]
where s.mode = 'exclude'
group by e.task, e.arm, e.thinking, s.step, shown
order by e.task, e.arm, e.thinking, s.step
