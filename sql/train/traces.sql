-- Accepted traces of one distill batch, in a stable order.
select set_id, task, mode, thinking, pool, completion from traces where batch_id = $batch_id and accepted order by trace_id
