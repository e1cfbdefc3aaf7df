-- Rows of a task without test sets among the inputs, or over more queries than there are.
-- remedy: evaluate the stage's own inputs
with tests as (
    select task, count(*) as sets from candidate_sets where split = 'test' and batch_id in (select key from inputs_of_batch) group by task
)
select v.task, v.arm, v.strategy, v.metric, v.queries, coalesce(t.sets, 0) as test_sets
from {batch} v
left join tests t on t.task = v.task
where v.queries > coalesce(t.sets, 0)
