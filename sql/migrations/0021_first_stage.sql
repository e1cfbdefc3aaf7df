-- A run that came with the data is the first stage of its queries.
alter table qrels add column first_stage double;
comment on column qrels.first_stage is 'Score that a run gave, where one came with the data (reader trec, option run); else null. It becomes candidates.prior.';
comment on column candidates.prior is 'First-stage score for the baseline row: of the run that came with the data, else interactions of training users, BM25 score, mean effect.';
