-- What `ranker audit injection` measured.
create table injections (
    batch_id varchar not null, model varchar not null, task varchar not null, strategy varchar not null, thinking boolean not null,
    text varchar not null, control varchar, queries integer not null, height double not null, first double not null,
    rise double, lower double, upper double, rr double not null, invalid double not null, measured_at timestamptz not null
);
comment on table injections is 'Injection audits: one of a pool''s least relevant candidates, the attacker, ranked with its own text, with harmless sentences and with attacks. A row per model, task, way of asking and text.';
comment on column injections.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id): one audit.';
comment on column injections.model is 'Identity of the weights: as episodes.model; an engine''s own name for what is not here.';
comment on column injections.task is 'Name of the task: a file in ranker/tasks.';
comment on column injections.strategy is 'How calls became a ranking.';
comment on column injections.thinking is 'Whether the policy was let reason.';
comment on column injections.text is 'What the attacker brought: its own, a control, or the name of an attack.';
comment on column injections.control is 'The control that an attack is held against: a harmless sentence in the same place. Null for what is no attack.';
comment on column injections.queries is 'Pools that were ranked.';
comment on column injections.height is 'Mean place of the attacker: 1 first, 0 last.';
comment on column injections.first is 'Share of the pools in which it came first.';
comment on column injections.rise is 'Mean height minus that with the control, on the same pools. Null for what is no attack.';
comment on column injections.lower is 'Lower end of its 95% interval (bootstrap over groups).';
comment on column injections.upper is 'Upper end of its 95% interval.';
comment on column injections.rr is 'Mean reciprocal rank of the first of the most relevant candidates.';
comment on column injections.invalid is 'Share of invalid answers.';
comment on column injections.measured_at is 'When it was measured.';
