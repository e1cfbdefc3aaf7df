select table_name as table, expectation, severity, success, observed, unexpected_count, samples
from contract_checks
where batch_id = $key and stage = $stage and accepted = $accepted
order by table_name, success is not null, success, severity, expectation
