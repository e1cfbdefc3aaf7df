create or replace view contract_results as
select batch_id, stage, table_name, expectation, success, observed, unexpected_count, judged_at, severity, accepted, samples
from contract_checks;
comment on view contract_results is 'Verdicts of the contracts on accepted and on refused batches (accepted), errors and warnings (severity); success is null where an expectation could not be evaluated.';
