-- An evaluation keeps the scores of its own first stages, too.
comment on table teacher_scores is 'The score of each candidate by a ranker that is no policy: the teacher of a distill batch, on training and test queries alike, or a first stage of an evaluate batch (dense, dense-tuned, mf), on test queries. Its row in the leaderboard.';
comment on column teacher_scores.teacher is 'Name of the teacher or of the first stage.';
comment on column episodes.arm is 'Row of the results table: untrained, sft, rl, pretrained, champion. Baselines have evaluations and no episodes.';
