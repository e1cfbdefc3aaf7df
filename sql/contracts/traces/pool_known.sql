-- Traces whose pool has a label that their set has not, or has one twice.
-- remedy: take sub-pools of the set
with shown as (
    select set_id, list(label) as labels from candidates where batch_id in (select key from inputs_of_batch) group by set_id
)
select t.trace_id, t.set_id, t.pool
from {batch} t
join shown s on s.set_id = t.set_id
where not list_has_all(s.labels, t.pool) or len(list_distinct(t.pool)) <> len(t.pool) or len(t.pool) < 2
