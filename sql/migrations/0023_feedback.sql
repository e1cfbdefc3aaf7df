-- What became of served requests, as clients tell it.
create table feedback (
    batch_id varchar not null, event_id varchar not null, set_id varchar not null, item_id varchar not null, event varchar not null,
    value double, happened_at timestamptz not null, received_at timestamptz not null, user_id varchar
);
comment on table feedback is 'One event that a client sent to `/v1/feedback`. It counts once its request is in the lake (feedback_counted, feedback_held).';
comment on column feedback.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column feedback.event_id is 'Digest of request, document, event, value and the time that the client gave: the same event sent twice is one row.';
comment on column feedback.set_id is 'The request (served_requests.set_id), as the client names it.';
comment on column feedback.item_id is 'The document (served_candidates.item_id), as the client names it.';
comment on column feedback.event is 'click, rating or purchase.';
comment on column feedback.value is 'Of a rating; null for any other event.';
comment on column feedback.happened_at is 'When it happened, by the client; where it did not say, when it came.';
comment on column feedback.received_at is 'When the server took it.';
comment on column feedback.user_id is 'Whose doing it was, where the client said so.';

comment on column stage_runs.stage is 'ingest, candidates, distill, train, evaluate, register, replay, serve, feedback or the name of an audit.';
