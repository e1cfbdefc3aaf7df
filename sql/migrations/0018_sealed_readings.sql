-- What `ranker audit sealed` has read.
create table sealed_readings (
    batch_id varchar not null, name varchar not null, version varchar not null, task varchar not null, against varchar,
    queries integer not null, rr double not null, lower double not null, upper double not null,
    difference double, difference_lower double, difference_upper double, read_at timestamptz not null
);
comment on table sealed_readings is 'The champion on the sealed queries (candidates.audit_share), beside the champion before it: a row per reading and task. Every reading is one of register.audit_readings a year.';
comment on column sealed_readings.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id): one reading.';
comment on column sealed_readings.name is 'Registered model name.';
comment on column sealed_readings.version is 'Version that was champion.';
comment on column sealed_readings.task is 'Name of the task: a file in ranker/tasks.';
comment on column sealed_readings.against is 'Version of the champion before it. Null where there is none that was trained with the same queries sealed.';
comment on column sealed_readings.queries is 'Sealed queries that were ranked.';
comment on column sealed_readings.rr is 'Mean reciprocal rank of the champion, as it serves.';
comment on column sealed_readings.lower is 'Lower end of its 95% interval (bootstrap over groups).';
comment on column sealed_readings.upper is 'Upper end of its 95% interval.';
comment on column sealed_readings.difference is 'Mean RR of the champion minus that of the champion before it, on the same queries. Null without one.';
comment on column sealed_readings.difference_lower is 'Lower end of its 95% interval.';
comment on column sealed_readings.difference_upper is 'Upper end of its 95% interval.';
comment on column sealed_readings.read_at is 'When they were read.';
