select batch_id, stage, accepted, max(judged_at) as judged_at, count(*) as expectations,
       count(*) filter (where not success and severity = 'error') as violated,
       count(*) filter (where not success and severity = 'warning') as warnings,
       count(*) filter (where success is null) as not_evaluated
from contract_checks
group by batch_id, stage, accepted
order by judged_at desc, stage, batch_id
