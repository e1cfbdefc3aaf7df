-- How often does a policy put the teacher's favourite first, and who is right where they differ?
-- Ties of the teacher count for it: any of its best will do.
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1),
favourites as (
    select t.set_id, list(t.label) as labels
    from (
        select set_id, label, batch_id from teacher_scores
        qualify score = max(score) over (partition by batch_id, set_id)
    ) t
    join latest l on list_contains(l.inputs, t.batch_id)
    group by t.set_id
),
best as (
    select c.set_id, list(c.label) as labels
    from (
        select set_id, label, batch_id from candidates
        qualify relevance = max(relevance) over (partition by batch_id, set_id)
    ) c
    join latest l on list_contains(l.inputs, c.batch_id)
    group by c.set_id
)
select e.task, e.arm, e.strategy, e.thinking, count(*) as queries, round(avg(list_contains(f.labels, e.ranking[1])::integer), 3) as agrees,
       count(*) filter (where not list_contains(f.labels, e.ranking[1]) and list_contains(b.labels, e.ranking[1])) as policy_right,
       count(*) filter (where not list_contains(f.labels, e.ranking[1]) and list_has_any(b.labels, f.labels) and not list_contains(b.labels, e.ranking[1])) as teacher_right
from episodes e
join latest l on l.batch_id = e.batch_id
join favourites f on f.set_id = e.set_id
join best b on b.set_id = e.set_id
group by e.task, e.arm, e.strategy, e.thinking
order by agrees desc, e.task, e.arm
