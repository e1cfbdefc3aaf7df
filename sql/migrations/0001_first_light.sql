-- Tables of the first road. Every row carries batch_id: the key of the stage run that wrote it.
-- DuckLake enforces NOT NULL only; uniqueness and references are the contracts' work.

create table stage_runs (
    stage varchar not null, batch_id varchar not null, flow_run varchar,
    inputs varchar[] not null, parameters varchar not null, code varchar not null,
    read_snapshot bigint not null, rows_written varchar not null, details varchar not null,
    finished_at timestamptz not null
);
comment on table stage_runs is 'One row per finished stage: what it read, with which parameters and code, and what it wrote.';
comment on column stage_runs.batch_id is 'Key of the stage run: digest of parameters, input keys and code.';
comment on column stage_runs.inputs is 'Keys of the stage runs that this one read.';
comment on column stage_runs.read_snapshot is 'Lake snapshot that the stage read.';
comment on column stage_runs.rows_written is 'JSON object: rows by table.';

create table sources (
    batch_id varchar not null, task varchar not null, reader varchar not null, location varchar not null,
    content_digest varchar not null, rows_read bigint not null
);
comment on table sources is 'Inputs as read: one row per task and ingest.';

create table items (
    batch_id varchar not null, task varchar not null, item_id varchar not null,
    title varchar not null, text varchar not null, attributes varchar
);
comment on table items is 'Things that can be ranked: movies, passages, language models.';

create table interactions (
    batch_id varchar not null, task varchar not null, user_id varchar not null, item_id varchar not null,
    rating double, happened_at timestamptz not null
);
comment on table interactions is 'Who touched what and when (recommendation).';

create table queries (
    batch_id varchar not null, task varchar not null, query_id varchar not null, group_id varchar not null,
    text varchar not null
);
comment on table queries is 'Queries that come with the data (passages, routing). group_id: what must not be split between train and test.';

create table qrels (
    batch_id varchar not null, task varchar not null, query_id varchar not null, item_id varchar not null,
    relevance double not null
);
comment on table qrels is 'Graded judgements that come with the data.';

create table candidate_sets (
    batch_id varchar not null, set_id varchar not null, task varchar not null, split varchar not null,
    query_id varchar not null, group_id varchar not null, query varchar not null, query_items varchar[] not null,
    pool_size integer not null
);
comment on table candidate_sets is 'One query with its pool; candidates holds the pool in shown order.';
comment on column candidate_sets.split is 'train or test; whole groups fall on one side.';
comment on column candidate_sets.query_items is 'History as item ids, oldest first; empty where there is none.';

create table candidates (
    batch_id varchar not null, set_id varchar not null, slot integer not null, label varchar not null,
    item_id varchar not null, text varchar not null, relevance double not null, origin varchar not null, prior double not null
);
comment on table candidates is 'The pool of a candidate set.';
comment on column candidates.slot is '0-based place as shown, shuffled by seed.';
comment on column candidates.origin is 'positive, popularity, uniform, bm25, random or given.';
comment on column candidates.prior is 'First-stage score for the baseline row: interactions of training users, BM25 score, mean effect.';

create table teacher_scores (
    batch_id varchar not null, set_id varchar not null, label varchar not null, teacher varchar not null, score double not null
);
comment on table teacher_scores is 'The teacher''s score of each candidate, training and test queries alike: its row in the leaderboard.';

create table traces (
    batch_id varchar not null, trace_id varchar not null, set_id varchar not null, task varchar not null,
    mode varchar not null, thinking boolean not null, pool varchar[] not null, teacher varchar not null, teacher_kind varchar not null,
    completion varchar not null, action varchar[] not null, accepted boolean not null, reason varchar not null,
    prompt_tokens integer not null, completion_tokens integer not null, milliseconds double not null
);
comment on table traces is 'Reasoning traces of a teacher on training queries; rejected ones stay, with the reason.';
comment on column traces.mode is 'exclude (IRanker) or rank (DRanker).';
comment on column traces.teacher_kind is 'classical or model.';

create table training_metrics (
    batch_id varchar not null, phase varchar not null, step integer not null, name varchar not null, value double not null
);
comment on table training_metrics is 'What the trainer logged, by phase (sft, rl) and optimizer step.';

create table episodes (
    batch_id varchar not null, episode_id varchar not null, stage varchar not null, set_id varchar not null, task varchar not null,
    model varchar not null, arm varchar not null, strategy varchar not null, thinking boolean not null, seed bigint not null,
    train_step integer, ranking varchar[] not null, pool varchar[] not null, calls integer not null, invalid_calls integer not null,
    prompt_tokens bigint not null, completion_tokens bigint not null, milliseconds double not null, reward double not null,
    rr double, ndcg_5 double, ndcg_10 double, hit_1 double, hit_3 double
);
comment on table episodes is 'One ranking of one query by one model with one strategy; written by distillation, training and evaluation alike.';
comment on column episodes.stage is 'distill, train or evaluate.';
comment on column episodes.model is 'Identity of the weights: <train key>/<untrained|sft|rl>, or the name of a baseline or pretrained model.';
comment on column episodes.arm is 'Row of the results table: untrained, sft, rl, pretrained, champion, random, first-position, popularity, bm25, teacher.';
comment on column episodes.ranking is 'Labels, best first; for a training rollout of one exclusion, the survivors and then the excluded one.';
comment on column episodes.train_step is 'Optimizer step of a training rollout.';
comment on column episodes.rr is 'Reciprocal rank of the first relevant candidate; null for training rollouts of one exclusion.';

create table steps (
    batch_id varchar not null, episode_id varchar not null, step integer not null, mode varchar not null, pool varchar[] not null,
    prompt varchar not null, completion varchar not null, action varchar[] not null, taken varchar[] not null, valid boolean not null, reason varchar not null,
    reward double not null, reward_format double not null, reward_task double not null, reward_trace double not null, advantage double,
    prompt_tokens integer not null, completion_tokens integer not null, milliseconds double not null
);
comment on table steps is 'One model call.';
comment on column steps.pool is 'Labels as shown.';
comment on column steps.reason is 'Why the answer is invalid; empty where valid.';
comment on column steps.reward_trace is 'What the grades in the reasoning earned by ordering the pool (training with grpo.trace_weight only).';
comment on column steps.taken is 'Labels acted on: the action, or the stated fallback.';

create table evaluations (
    batch_id varchar not null, task varchar not null, arm varchar not null, model varchar not null, strategy varchar not null, thinking boolean not null,
    metric varchar not null, value double not null, lower double, upper double, queries integer not null
);
comment on table evaluations is 'Means over test queries with bootstrap 95% intervals clustered by group.';

create table comparisons (
    batch_id varchar not null, task varchar not null, strategy varchar not null, thinking boolean not null, metric varchar not null,
    arm varchar not null, against varchar not null, difference double not null, lower double not null, upper double not null, queries integer not null
);
comment on table comparisons is 'Paired differences (arm minus against) on the same test queries, bootstrap 95% intervals clustered by group.';

create table model_versions (
    batch_id varchar not null, name varchar not null, version varchar not null, run_id varchar not null, train_key varchar not null,
    evaluate_key varchar not null, alias varchar not null, verdict varchar not null, registered_at timestamptz not null
);
comment on table model_versions is 'Registered model versions and what the promotion rule said of them.';

create table contract_results (
    batch_id varchar not null, stage varchar not null, table_name varchar not null, expectation varchar not null, success boolean not null,
    observed varchar, unexpected_count bigint, judged_at timestamptz not null
);
comment on table contract_results is 'Every verdict of every contract on an accepted batch.';
