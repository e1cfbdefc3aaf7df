-- Steps whose scores are not one log-probability for each label shown, together 1.
-- remedy: score exactly the labels of the pool, normalised over it
select episode_id, step, pool, scores
from {batch}
where scores is not null
  and (len(scores) <> len(pool) or list_max(scores) > 1e-6 or abs(list_sum(list_transform(scores, lambda s: exp(s))) - 1) > 1e-3)
