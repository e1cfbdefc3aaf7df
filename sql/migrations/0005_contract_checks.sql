-- What contracts say of refused batches lands in the lake too, and warnings beside errors.
-- The view `contract_results` keeps the old name and columns (sql/views).
create table contract_checks (
    batch_id varchar not null, stage varchar not null, table_name varchar not null, expectation varchar not null,
    severity varchar not null, success boolean, accepted boolean not null, observed varchar, unexpected_count bigint,
    samples varchar, judged_at timestamptz not null
);
comment on table contract_checks is 'What every expectation said of every batch: of the accepted one of a stage run, and of the last refused one where none was accepted since.';
comment on column contract_checks.batch_id is 'Key of the stage run that wrote the batch, or tried to (stage_runs.batch_id).';
comment on column contract_checks.stage is 'ingest, candidates, distill, train, evaluate or register.';
comment on column contract_checks.table_name is 'Table that was judged.';
comment on column contract_checks.expectation is 'Name and meaning of the expectation; contracts/ and sql/contracts/ hold them.';
comment on column contract_checks.severity is 'error (keeps the batch out) or warning (is told, and keeps nothing out).';
comment on column contract_checks.success is 'Whether the expectation holds; null where it could not be evaluated.';
comment on column contract_checks.accepted is 'Whether the batch went into the main tables; a refused one lies in schema quarantine.';
comment on column contract_checks.observed is 'What was looked at: a number of rows or of unexpected rows.';
comment on column contract_checks.unexpected_count is 'Rows that break the expectation, where it counts rows.';
comment on column contract_checks.samples is 'JSON array of up to 5 rows that break the expectation; null where none does.';
comment on column contract_checks.judged_at is 'When the verdicts were written.';

insert into contract_checks by name
select batch_id, stage, table_name, expectation, 'error' as severity, success, true as accepted, observed, unexpected_count, judged_at from contract_results;

drop table contract_results;
