-- Episodes by elimination or by one whole order whose steps do not lead to their ranking: the labels taken, last exclusion first (taken worst first) or as named (mode rank), must end the ranking.
-- remedy: write the ranking that the steps have led to
with taken as (
    select episode_id, any_value(mode) as mode, flatten(list(case when mode = 'exclude' then list_reverse(taken) else taken end order by step desc)) as labels
    from staged_steps
    group by episode_id
)
select e.episode_id, e.task, t.mode, e.ranking, t.labels as taken
from {batch} e
join taken t on t.episode_id = e.episode_id
where (e.strategy = 'direct' or regexp_matches(e.strategy, '^iterative') and not contains(e.strategy, 'by=order'))
  and (e.ranking[len(e.ranking) - len(t.labels) + 1 :] is distinct from t.labels
       or (t.mode = 'rank' or e.stage = 'evaluate' and not contains(e.strategy, 'keep=')) and len(t.labels) < len(e.pool) - (t.mode = 'exclude')::integer)
