-- What was served: requests with their pools; the rankings are episodes of stage `serve`.
create table served_requests (
    batch_id varchar not null, set_id varchar not null, served_at timestamptz not null, task varchar not null, query varchar not null,
    query_items varchar[] not null, pool_size integer not null, model varchar not null, version varchar not null, milliseconds double not null
);
comment on table served_requests is 'One request that was ranked by `ranker serve --log`; served_candidates holds its documents, its episode (stage serve) the ranking.';
comment on column served_requests.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column served_requests.set_id is 'Identity of the request, as its answer''s `id` told the client, and as episodes.set_id.';
comment on column served_requests.served_at is 'When the request came.';
comment on column served_requests.task is 'Name of the task: a file in ranker/tasks.';
comment on column served_requests.query is 'Text of the query; empty where the history asks.';
comment on column served_requests.query_items is 'History as item ids, oldest first; empty where there is none.';
comment on column served_requests.pool_size is 'Number of documents.';
comment on column served_requests.model is 'Identity of the weights: as episodes.model.';
comment on column served_requests.version is 'Registered model version that answered; empty for a model that is not registered.';
comment on column served_requests.milliseconds is 'From the request''s arrival to its answer.';

create table served_candidates (
    batch_id varchar not null, set_id varchar not null, slot integer not null, label varchar not null, item_id varchar not null,
    text varchar not null, place integer not null
);
comment on table served_candidates is 'The documents of a served request. Nobody has judged them.';
comment on column served_candidates.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column served_candidates.set_id is 'The request (served_requests.set_id).';
comment on column served_candidates.slot is '0-based place as sent: `index` in the answer.';
comment on column served_candidates.label is 'Label of the document within its request: A, B, ….';
comment on column served_candidates.item_id is 'The document''s own id where the client sent one, else its place as sent.';
comment on column served_candidates.text is 'What the model is shown of the document.';
comment on column served_candidates.place is '1-based place in the ranking.';

comment on column stage_runs.stage is 'ingest, candidates, distill, train, evaluate, register, replay or serve.';
comment on column episodes.stage is 'train, evaluate, replay or serve.';
comment on column episodes.set_id is 'The candidate set (candidate_sets.set_id); in stage serve the request (served_requests.set_id).';
comment on column episodes.reward is 'Mean reward of its steps; 0 is chance. Stage serve: nobody has judged the candidates, so it holds no more than what unreadable answers cost.';
