-- Has anything leaked from test to train? An answer without rows is the good one.
-- Groups (users, sources of a passage) on both sides, and traces on test queries.
select 'group on both sides' as what, batch_id, group_id as which from candidate_sets group by batch_id, group_id having count(distinct split) > 1
union all
select 'trace on a test query', t.batch_id, t.set_id
from traces t
join stage_runs r on r.stage = 'distill' and r.batch_id = t.batch_id
join candidate_sets s on s.set_id = t.set_id and list_contains(r.inputs, s.batch_id)
where s.split = 'test'
