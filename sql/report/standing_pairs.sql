-- Reciprocal ranks of one model in two evaluations, on the test queries of a task that both have, ranked in the same way; the pools may differ.
with ranked as (
    select e.batch_id, s.query_id, any_value(s.group_id) as group_id, avg(e.rr) as rr
    from episodes e
    join stage_runs r on r.batch_id = e.batch_id
    join candidate_sets s on s.set_id = e.set_id and list_contains(r.inputs, s.batch_id)
    where e.batch_id in ($batch_id, $before) and e.task = $task and e.model = $model and e.strategy = $strategy and e.thinking = $thinking
      and isfinite(e.rr)
    group by e.batch_id, s.query_id
)
select n.query_id, n.group_id, n.rr, b.rr as rr_before
from ranked n
join ranked b on b.query_id = n.query_id
where n.batch_id = $batch_id and b.batch_id = $before
order by n.query_id
