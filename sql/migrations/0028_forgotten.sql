-- Batches that `ranker gc` has taken the rows of: what was done is recorded still, and is not there any more.
alter table stage_runs add column forgotten_at timestamptz;
comment on column stage_runs.forgotten_at is 'When `ranker gc` took the rows of this batch away, so that the stage would run again; null where they are there.';
