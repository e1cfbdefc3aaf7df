-- Whether an invalid answer could have been written at all.
alter table episodes add column constrained boolean;
alter table steps add column constrained boolean;
comment on column episodes.constrained is 'Whether decoding of all its calls was constrained to valid answers. Null in training rollouts (never constrained) and in rows from before this column.';
comment on column steps.constrained is 'Whether decoding was constrained to valid answers. Null as in episodes.constrained.';
