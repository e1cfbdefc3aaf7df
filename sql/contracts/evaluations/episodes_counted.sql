-- Rows of a model that do not count its episodes of this evaluation: a query was dropped, or counted twice.
-- remedy: average over every query that was asked
with written as (
    select task, arm, strategy, thinking, count(*) as episodes from staged_episodes group by task, arm, strategy, thinking
)
select v.task, v.arm, v.strategy, v.thinking, v.metric, v.queries, coalesce(w.episodes, 0) as episodes
from {batch} v
left join written w on w.task = v.task and w.arm = v.arm and w.strategy = v.strategy and w.thinking = v.thinking
where v.strategy <> 'baseline' and v.queries <> coalesce(w.episodes, 0)
