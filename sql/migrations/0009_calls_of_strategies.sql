-- What strategies of many shapes cost, and what they went by.
alter table episodes add column rounds integer;
alter table episodes add column cached_tokens bigint;
alter table steps add column round integer;
alter table steps add column cached_tokens integer;
alter table steps add column scores double[];
comment on column episodes.strategy is 'How its calls became a ranking, with parameters where they are not the defaults: iterative (IRanker), direct (DRanker), window, survivors, first-token, setwise, consistency, gate (docs/strategies.md).';
comment on column episodes.rounds is 'Rounds of calls: those of one round wait for none of each other. Null in training rollouts and in rows from before this column.';
comment on column episodes.cached_tokens is 'Prompt tokens that a prefix cache spared the engine. Null as in episodes.rounds.';
comment on column steps.round is '0-based round of the call in its episode. Null as in episodes.rounds.';
comment on column steps.cached_tokens is 'Prompt tokens that a prefix cache spared the engine. Null as in episodes.rounds.';
comment on column steps.scores is 'Where labels were scored instead of an answer written: log-probability of each label of the pool as shown, normalised over the pool. Null for a written answer.';
comment on column steps.action is 'Labels that the answer names, as parsed, or that the scores say (mode exclude: worst first); empty where nothing could be read.';
comment on column steps.taken is 'Labels acted on: the action, the end of an order that was asked for its worst (worst first), or the stated fallback; empty where a gate left the decision to the next call.';
comment on column steps.completion is 'What the model or teacher wrote, without the end token; of scored labels the reasoning before them.';
