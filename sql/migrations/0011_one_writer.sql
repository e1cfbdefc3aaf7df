-- Training's rollouts are written as all other episodes are: unconstrained, of one round, with no cache told of.
comment on column episodes.constrained is 'Whether decoding of all its calls was constrained to valid answers. Null in rows from before this column, and in training rollouts of before 0.2.';
comment on column steps.constrained is 'Whether decoding was constrained to valid answers. Null as in episodes.constrained.';
comment on column episodes.rounds is 'Rounds of calls: those of one round wait for none of each other. Null as in episodes.constrained.';
comment on column episodes.cached_tokens is 'Prompt tokens that a prefix cache spared the engine, where it says so (in training it does not: 0). Null as in episodes.constrained.';
comment on column steps.round is '0-based round of the call in its episode. Null as in episodes.constrained.';
comment on column steps.cached_tokens is 'Prompt tokens that a prefix cache spared the engine, where it says so (in training it does not: 0). Null as in episodes.constrained.';
