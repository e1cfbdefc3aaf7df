-- In which order documents were shown, and by which chance.
create table served_orders (
    batch_id varchar not null, set_id varchar not null, shown varchar[] not null, share double not null, depth integer not null,
    drawn boolean not null, propensity double, teams varchar[]
);
comment on table served_orders is 'What the client got of a served request: its documents in the order shown (`ranker serve --explore` shuffles some).';
comment on column served_orders.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column served_orders.set_id is 'The request (served_requests.set_id).';
comment on column served_orders.shown is 'Labels in the order shown; what top_n or min_score left out is not among them.';
comment on column served_orders.share is 'Share of the requests whose first places were shuffled; 0 without --explore.';
comment on column served_orders.depth is 'So many first places are shuffled, where drawn.';
comment on column served_orders.drawn is 'Whether this request''s were.';
comment on column served_orders.propensity is 'Chance of exactly this order: (1 − share) · [as ranked] + share / depth!. Null where two rankings were interleaved.';
comment on column served_orders.teams is 'Of an interleaved answer (`ranker serve --interleave`): whose choice each document was, served or shadow; else null.';
