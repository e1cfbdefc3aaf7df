-- What a second model made of requests that the first had answered; its rankings are episodes of the arm `shadow`.
create table served_shadows (
    batch_id varchar not null, set_id varchar not null, model varchar not null, version varchar not null, milliseconds double not null
);
comment on table served_shadows is 'One request that the model of `ranker serve --shadow` has ranked, too; its episode (stage serve, arm shadow) holds the ranking.';
comment on column served_shadows.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id): that of the request or a later one.';
comment on column served_shadows.set_id is 'The request (served_requests.set_id).';
comment on column served_shadows.model is 'Identity of the shadow''s weights: as episodes.model.';
comment on column served_shadows.version is 'Registered model version of the shadow; empty for a model that is not registered.';
comment on column served_shadows.milliseconds is 'Wall time of its ranking, which runs by itself when no request waits.';

comment on column episodes.arm is 'Row of the results table: untrained, sft, rl, pretrained, champion. Baselines have evaluations and no episodes. Stage serve: served, what was answered; shadow, what a second model made of it.';
