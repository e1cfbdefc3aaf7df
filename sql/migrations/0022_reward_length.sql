-- A length penalty is a part of the reward.
alter table steps add column reward_length double;
comment on column steps.reward_length is 'Part of the reward: what the answer''s tokens cost (grpo.length_weight), between -1 and 0; 0 where length is not rewarded. Null in rows from before this column.';
