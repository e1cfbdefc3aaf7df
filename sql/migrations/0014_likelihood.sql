-- What a likelihood policy's step was made of: scores of the labels as shown, in nats, and the temperature.
alter table steps add column log_likelihoods double[];
alter table steps add column temperature double;
comment on column steps.log_likelihoods is 'Of a likelihood policy the score of each label of the pool as shown, in nats: log-probability of the text that the task''s template names, per token or summed. `scores` is its log-softmax at `temperature` (mode exclude: of the negated scores). Null for all other policies.';
comment on column steps.temperature is 'Temperature of a likelihood policy. Null for all other policies.';
comment on column steps.advantage is 'Training: the reward of this action minus the mean of those that the same question''s other answers earned (GRPO: divided by their deviation). Null elsewhere.';
