-- What decided a stage's output, part by part, so that a later run can say what has changed since.
alter table stage_runs add column identity varchar;
comment on column stage_runs.identity is 'JSON object: modules (file → digest of its code), sql (file → digest) and libraries (distribution → version) that decide the output. Null in rows from before this column.';
comment on column stage_runs.code is 'Digest of identity: the code and libraries that decide the stage''s output. In rows from before identity, of source files.';
