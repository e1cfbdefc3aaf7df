-- Accepted traces of one distill batch that a worked example can be made of: the first of each set, mode and thinking.
select set_id, mode, thinking, min_by(pool, trace_id) as pool, min_by(completion, trace_id) as completion
from traces
where batch_id = $batch_id and accepted
group by set_id, mode, thinking
order by set_id, mode, thinking
