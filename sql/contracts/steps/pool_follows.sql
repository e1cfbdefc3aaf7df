-- Steps whose pool is not what the steps before have left of their episode's pool; for strategies that ask again about the same candidates (window, setwise, consistency, think-then-score), steps whose pool is no part of it.
-- remedy: show each step the survivors of the one before
with earlier as (
    select episode_id, step, pool, flatten(coalesce(list(taken) over (partition by episode_id order by step rows between unbounded preceding and 1 preceding), [])) as gone
    from {batch} b
)
select s.episode_id, s.step, s.pool, s.gone, e.pool as episode_pool
from earlier s
join staged_episodes e on e.episode_id = s.episode_id
where not list_has_all(e.pool, s.pool) or len(list_distinct(s.pool)) <> len(s.pool)
   or not regexp_matches(e.strategy, '^(window|setwise|consistency|think-then-score)')
      and (len(s.pool) + len(s.gone) <> len(e.pool) or list_has_any(s.pool, s.gone))
