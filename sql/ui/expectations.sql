-- What each expectation said of one table of one batch, failed ones first.
select expectation, success, severity, observed, unexpected_count, samples
from contract_results
where batch_id = $batch_id and table_name = $table_name
order by success, expectation
