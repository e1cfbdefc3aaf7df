-- Counterfactual replay: an episode may branch off another one.
alter table episodes add column parent_episode varchar;
alter table episodes add column from_step integer;
comment on column episodes.parent_episode is 'Replay: the episode that this one branches off (episodes.episode_id); null for any other.';
comment on column episodes.from_step is 'Replay: the first step that was asked anew; the steps before it are the parent''s, as they were. Null for any other.';
comment on column episodes.stage is 'train, evaluate or replay.';
