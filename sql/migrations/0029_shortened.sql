-- Which prompts of an evaluation, or of what was served, the model did not get whole.
alter table episodes add column shortened_calls integer;
alter table steps add column shortened integer;
comment on column episodes.shortened_calls is 'Calls of whose texts (the query among them) the model did not get every word. Null in training rollouts, whose prompts are counted by task in the record of the training, and in rows from before this column.';
comment on column steps.shortened is 'Of how many texts, the query among them, the model did not get every word. Null as in episodes.shortened_calls.';
