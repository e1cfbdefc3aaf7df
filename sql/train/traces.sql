-- Accepted traces of one batch, in an order that a change of code or of parameters elsewhere leaves as it is: by what was asked and
-- answered, not by ids, which carry the keys of the runs that wrote them. What training draws by a seed follows this order.
select t.set_id, t.task, t.mode, t.thinking, t.pool, t.completion, t.action
from traces t
join (select distinct set_id, query_id from candidate_sets) s using (set_id)
where t.batch_id = $batch_id and t.accepted
order by md5(concat_ws('|', t.task, s.query_id, t.mode, t.thinking, t.pool, t.completion)), t.trace_id
