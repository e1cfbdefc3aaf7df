-- Every column says what it holds, and a step says by itself who answered it and how it was asked.
alter table steps add column model varchar;
alter table steps add column strategy varchar;
alter table steps add column seed bigint;
comment on column steps.model is 'Model version that answered: as episodes.model. Null in rows from before this column.';
comment on column steps.strategy is 'Strategy that the call served: as episodes.strategy. Null in rows from before this column.';
comment on column steps.seed is 'Seed of decoding: as episodes.seed. Null in rows from before this column.';

comment on column stage_runs.stage is 'ingest, candidates, distill, train, evaluate, register or replay.';
comment on column stage_runs.flow_run is 'Prefect flow run that produced it, where there was one.';
comment on column stage_runs.parameters is 'JSON of the stage''s own parameters.';
comment on column stage_runs.code is 'Digest of the source files that decide the stage''s output.';
comment on column stage_runs.details is 'JSON object of small facts: paths, counts, verdicts.';
comment on column stage_runs.finished_at is 'When the stage committed.';

comment on column sources.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column sources.task is 'Name of the task: a file in ranker/tasks.';
comment on column sources.reader is 'Module in ranker/sources that read it.';
comment on column sources.location is 'Folder or file that was read.';
comment on column sources.content_digest is 'Digest over the content of what was read.';
comment on column sources.rows_read is 'Rows that the reader found.';

comment on column items.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column items.task is 'Name of the task: a file in ranker/tasks.';
comment on column items.item_id is 'The item (items.item_id), unique within its task.';
comment on column items.title is 'Short name.';
comment on column items.text is 'What a model is shown of the item.';
comment on column items.attributes is 'JSON object of further fields of the source.';

comment on column interactions.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column interactions.task is 'Name of the task: a file in ranker/tasks.';
comment on column interactions.user_id is 'The user.';
comment on column interactions.item_id is 'The item (items.item_id), unique within its task.';
comment on column interactions.rating is 'The rating given, where the source has ratings.';
comment on column interactions.happened_at is 'When it happened.';

comment on column queries.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column queries.task is 'Name of the task: a file in ranker/tasks.';
comment on column queries.query_id is 'The query, unique within its task.';
comment on column queries.group_id is 'What must not be split between train and test: the user, or the source of a passage.';
comment on column queries.text is 'The query as it is shown.';

comment on column qrels.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column qrels.task is 'Name of the task: a file in ranker/tasks.';
comment on column qrels.query_id is 'The query, unique within its task.';
comment on column qrels.item_id is 'The item (items.item_id), unique within its task.';
comment on column qrels.relevance is 'Graded relevance; 0 is not relevant. Never shown to a model.';

comment on column candidate_sets.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column candidate_sets.set_id is 'Identity of the candidate set.';
comment on column candidate_sets.task is 'Name of the task: a file in ranker/tasks.';
comment on column candidate_sets.query_id is 'The query, unique within its task.';
comment on column candidate_sets.group_id is 'What must not be split between train and test: the user, or the source of a passage.';
comment on column candidate_sets.query is 'Text of the query; empty where the history asks.';
comment on column candidate_sets.pool_size is 'Number of candidates.';

comment on column candidates.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column candidates.set_id is 'The candidate set (candidate_sets.set_id).';
comment on column candidates.label is 'Label of the candidate within its set: A, B, ….';
comment on column candidates.item_id is 'The item (items.item_id), unique within its task.';
comment on column candidates.text is 'What the model is shown of the candidate.';
comment on column candidates.relevance is 'Graded relevance; 0 is not relevant. Never shown to a model.';

comment on column teacher_scores.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column teacher_scores.set_id is 'The candidate set (candidate_sets.set_id).';
comment on column teacher_scores.label is 'Label of the candidate within its set: A, B, ….';
comment on column teacher_scores.teacher is 'Name of the teacher.';
comment on column teacher_scores.score is 'Higher is better; comparable within one set only.';

comment on column traces.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column traces.trace_id is 'Identity of the trace.';
comment on column traces.set_id is 'The candidate set (candidate_sets.set_id).';
comment on column traces.task is 'Name of the task: a file in ranker/tasks.';
comment on column traces.thinking is 'Whether the prompt asks for reasoning before the answer.';
comment on column traces.pool is 'Labels as shown.';
comment on column traces.teacher is 'Name of the teacher.';
comment on column traces.completion is 'What the model or teacher wrote, without the end token.';
comment on column traces.action is 'Labels that the answer names, as parsed; empty where nothing could be read.';
comment on column traces.accepted is 'Whether training may use it.';
comment on column traces.reason is 'Why it was rejected; empty where accepted.';
comment on column traces.prompt_tokens is 'Tokens of the prompt, as the model''s tokenizer counts them.';
comment on column traces.completion_tokens is 'Tokens that were generated, the end token included.';
comment on column traces.milliseconds is 'Wall time: that of the engine''s batch divided by the batch''s size.';

comment on column training_metrics.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column training_metrics.phase is 'sft, exact or rl.';
comment on column training_metrics.step is 'Optimizer step.';
comment on column training_metrics.name is 'Name of the metric as logged.';
comment on column training_metrics.value is 'Its value at that step.';

comment on column episodes.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column episodes.episode_id is 'Digest of stage, model, arm, seed, set, strategy and thinking: the same work has the same id.';
comment on column episodes.set_id is 'The candidate set (candidate_sets.set_id).';
comment on column episodes.task is 'Name of the task: a file in ranker/tasks.';
comment on column episodes.strategy is 'How its calls became a ranking: iterative (IRanker) or direct (DRanker).';
comment on column episodes.thinking is 'Whether the prompt asks for reasoning before the answer.';
comment on column episodes.seed is 'Seed of the stage that ran it.';
comment on column episodes.pool is 'Labels as first shown.';
comment on column episodes.calls is 'Model calls made.';
comment on column episodes.invalid_calls is 'Calls whose answer was invalid.';
comment on column episodes.prompt_tokens is 'Prompt tokens of all its calls.';
comment on column episodes.completion_tokens is 'Generated tokens of all its calls.';
comment on column episodes.milliseconds is 'Wall time of all its calls.';
comment on column episodes.reward is 'Mean reward of its steps; 0 is chance.';
comment on column episodes.ndcg_5 is 'nDCG@5 of the ranking.';
comment on column episodes.ndcg_10 is 'nDCG@10 of the ranking.';
comment on column episodes.hit_1 is 'Hit@1: whether the first is relevant.';
comment on column episodes.hit_3 is 'Hit@3: whether a relevant one is among the first three.';

comment on column steps.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column steps.episode_id is 'The episode (episodes.episode_id).';
comment on column steps.step is '0-based number of the call in its episode.';
comment on column steps.mode is 'What was asked: exclude (name the worst) or rank (name the whole order).';
comment on column steps.prompt is 'The prompt as rendered for the model.';
comment on column steps.completion is 'What the model or teacher wrote, without the end token.';
comment on column steps.action is 'Labels that the answer names, as parsed; empty where nothing could be read.';
comment on column steps.valid is 'Whether the answer could be read and is allowed.';
comment on column steps.reward is 'Total reward: the sum of its parts.';
comment on column steps.reward_format is 'Part for the form of the answer: 0, or −1 for one that cannot be read.';
comment on column steps.reward_task is 'Part for the decision itself, −1 to 1; 0 is chance.';
comment on column steps.advantage is 'GRPO advantage of a training rollout; null elsewhere.';
comment on column steps.prompt_tokens is 'Tokens of the prompt, as the model''s tokenizer counts them.';
comment on column steps.completion_tokens is 'Tokens that were generated, the end token included.';
comment on column steps.milliseconds is 'Wall time: that of the engine''s batch divided by the batch''s size.';

comment on column evaluations.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column evaluations.task is 'Name of the task: a file in ranker/tasks.';
comment on column evaluations.arm is 'Row of the results table: untrained, sft, rl, pretrained, champion or a baseline''s name.';
comment on column evaluations.model is 'Identity of the weights: <train key>/<untrained|sft|rl>, or the name of a baseline or pretrained model.';
comment on column evaluations.strategy is 'How calls become a ranking: iterative (IRanker), direct (DRanker) or, for results alone, baseline.';
comment on column evaluations.thinking is 'Whether the prompt asks for reasoning before the answer.';
comment on column evaluations.metric is 'RR, nDCG@5, nDCG@10, Hit@1, Hit@3, or a cost: malformed, calls, prompt_tokens, completion_tokens.';
comment on column evaluations.value is 'Mean over queries.';
comment on column evaluations.lower is 'Lower end of the 95% interval (bootstrap over groups).';
comment on column evaluations.upper is 'Upper end of the 95% interval (bootstrap over groups).';
comment on column evaluations.queries is 'Test queries that the mean is over.';

comment on column comparisons.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column comparisons.task is 'Name of the task: a file in ranker/tasks.';
comment on column comparisons.strategy is 'How calls become a ranking: iterative (IRanker), direct (DRanker) or, for results alone, baseline.';
comment on column comparisons.thinking is 'Whether the prompt asks for reasoning before the answer.';
comment on column comparisons.metric is 'RR, nDCG@10 or Hit@1.';
comment on column comparisons.arm is 'Row of the results table: untrained, sft, rl, pretrained, champion or a baseline''s name.';
comment on column comparisons.against is 'The other row of the results table.';
comment on column comparisons.difference is 'Mean of arm minus against on the same queries.';
comment on column comparisons.lower is 'Lower end of the 95% interval (bootstrap over groups).';
comment on column comparisons.upper is 'Upper end of the 95% interval (bootstrap over groups).';
comment on column comparisons.queries is 'Test queries that both ranked.';

comment on column model_versions.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column model_versions.name is 'Registered model name.';
comment on column model_versions.version is 'Version in the registry.';
comment on column model_versions.run_id is 'MLflow run.';
comment on column model_versions.train_key is 'Train stage that made the weights.';
comment on column model_versions.evaluate_key is 'Evaluation that the promotion rule read.';
comment on column model_versions.alias is 'Alias given: champion or challenger; empty for none.';
comment on column model_versions.verdict is 'What the promotion rule said.';
comment on column model_versions.registered_at is 'When it was registered.';

comment on column contract_results.batch_id is 'Key of the stage run that wrote the row (stage_runs.batch_id).';
comment on column contract_results.stage is 'Stage whose batch was judged.';
comment on column contract_results.table_name is 'Table that was judged.';
comment on column contract_results.expectation is 'What was expected.';
comment on column contract_results.success is 'Whether it held.';
comment on column contract_results.observed is 'What was seen, as text.';
comment on column contract_results.unexpected_count is 'Rows that broke it.';
comment on column contract_results.judged_at is 'When it was judged.';

comment on column migrations.name is 'File name; views are listed as views/<file>.';
comment on column migrations.checksum is 'SHA-256 of the file as applied.';
comment on column migrations.applied_at is 'When it was applied.';
