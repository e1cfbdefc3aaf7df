-- What `ranker audit traffic` has estimated.
create table traffic_estimates (
    batch_id varchar not null, model varchar not null, task varchar not null, strategy varchar not null, thinking boolean not null,
    estimator varchar not null, requests integer not null, depth integer not null,
    value double not null, lower double not null, upper double not null, gain double not null, gain_lower double not null, gain_upper double not null,
    effective double not null, covered double not null, measured_at timestamptz not null
);
comment on table traffic_estimates is 'The clicks that a policy would have got on logged requests, by `ranker audit traffic`: a row an estimator.';
comment on column traffic_estimates.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column traffic_estimates.model is 'Identity of the weights: as episodes.model.';
comment on column traffic_estimates.task is 'Name of the task: a file in ranker/tasks.';
comment on column traffic_estimates.strategy is 'How it ranked: as episodes.strategy.';
comment on column traffic_estimates.thinking is 'Whether it reasoned.';
comment on column traffic_estimates.estimator is 'SNIPS (self-normalised inverse propensity scoring) or DR (doubly robust).';
comment on column traffic_estimates.requests is 'Logged requests of days that passed, of which a share was shuffled.';
comment on column traffic_estimates.depth is 'First places that were shuffled, and whose clicks count.';
comment on column traffic_estimates.value is 'Clicks a request at those places, by the policy.';
comment on column traffic_estimates.lower is 'Lower end of its 95% interval (bootstrap over users, else requests).';
comment on column traffic_estimates.upper is 'Upper end of its 95% interval.';
comment on column traffic_estimates.gain is 'Beyond those of what was served without shuffling, by the same estimator.';
comment on column traffic_estimates.gain_lower is 'Lower end of its 95% interval.';
comment on column traffic_estimates.gain_upper is 'Upper end of its 95% interval.';
comment on column traffic_estimates.effective is 'Effective sample size (sum of weights squared over sum of squares), at the place where it is least.';
comment on column traffic_estimates.covered is 'Share of its documents that could have been shown at their places.';
comment on column traffic_estimates.measured_at is 'When it was estimated.';
