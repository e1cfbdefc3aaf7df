-- What the promotion rule tested, beside what it said (model_versions.verdict).
create table promotion_tests (
    batch_id varchar not null, name varchar not null, version varchar not null, task varchar not null, against varchar not null,
    queries integer not null, planned integer not null, query_ids varchar[], look integer not null, level double not null,
    difference double, lower double, upper double, spread double, p double, p_holm double, detectable double
);
comment on table promotion_tests is 'Tests of the promotion rule: a row per verdict and task, and one of the mean over all tasks where there are several. Against a champion each uses its test queries once.';
comment on column promotion_tests.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column promotion_tests.name is 'Registered model name.';
comment on column promotion_tests.version is 'Version in the registry that was tested.';
comment on column promotion_tests.task is 'Task, or all tasks: the mean over them, each weighing alike.';
comment on column promotion_tests.against is 'Version of the champion that it was tested against; without a champion the row of the evaluation that a first one has to beat.';
comment on column promotion_tests.queries is 'Test queries that were ranked, by the champion too where there was one.';
comment on column promotion_tests.planned is 'Test queries that were to be ranked; fewer promote nothing.';
comment on column promotion_tests.query_ids is 'The queries (candidate_sets.query_id). Null for all tasks.';
comment on column promotion_tests.look is 'Which verdict on these test queries this is, from 1: one more than the verdicts that used them before, on average.';
comment on column promotion_tests.level is 'Level of this verdict: register.alpha / register.looks. A gain is shown where p_holm is at most this.';
comment on column promotion_tests.difference is 'Mean RR of the policy minus that which it was tested against, on the same queries.';
comment on column promotion_tests.lower is 'Lower end of its 95% interval (bootstrap over groups). On a task it has to lie above -register.max_regression.';
comment on column promotion_tests.upper is 'Upper end of its 95% interval.';
comment on column promotion_tests.spread is 'Standard error × √queries. Null without a champion.';
comment on column promotion_tests.p is 'One-sided p-value of no gain over the champion: signs of the groups drawn anew. Null where there was no test.';
comment on column promotion_tests.p_holm is 'The same, corrected over the tests of one verdict (Holm).';
comment on column promotion_tests.detectable is 'Gain that such a test sees with a chance of 80%.';
