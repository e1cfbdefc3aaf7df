-- Accepted traces that are wrong by the true relevance (drop a best candidate, or rank none of the best in the upper half) although the stage rejects such traces (distill.reject).
-- remedy: reject by the relevance of the set's own candidates
with graded as (
    select set_id, map(list(label), list(relevance)) as grades from candidates where batch_id in (select key from inputs_of_batch) group by set_id
),
judged as (
    select t.trace_id, t.task, t.mode, t.action, [g.grades[label] for label in t.pool] as shown,
           [g.grades[label] for label in t.action[: case t.mode when 'exclude' then 1 else (len(t.action) + 1) // 2 end]] as named
    from {batch} t
    join graded g on g.set_id = t.set_id
    where t.accepted and (select coalesce((parameters -> 'params' ->> 'reject')::boolean, true) from parameters_of_batch)
)
select trace_id, task, mode, action, shown as relevance
from judged
where list_max(shown) > list_min(shown) and (mode = 'exclude') = list_contains(named, list_max(shown))
