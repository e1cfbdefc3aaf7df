-- Episodes whose ranking is no permutation of their pool.
-- remedy: every candidate shown has exactly one place
select episode_id, strategy, pool, ranking
from {batch}
where list_sort(ranking) <> list_sort(pool) or len(list_distinct(pool)) <> len(pool) or len(pool) < 2
