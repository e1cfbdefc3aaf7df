-- Reciprocal ranks of two policies on the test queries and pools that both have ranked, each by its own strategy and thinking.
with chosen as (
    select distinct set_id, task, query_id, group_id from candidate_sets where split = 'test'
),
one as (
    select set_id, avg(rr) as rr from episodes
    where stage = 'evaluate' and model = $model_1 and strategy = $strategy_1 and thinking = coalesce($thinking_1, thinking)
    group by set_id
),
other as (
    select set_id, avg(rr) as rr from episodes
    where stage = 'evaluate' and model = $model_2 and strategy = $strategy_2 and thinking = coalesce($thinking_2, thinking)
    group by set_id
)
select s.task, s.query_id, s.group_id, one.rr, other.rr as rr_other
from chosen s
join one on one.set_id = s.set_id
join other on other.set_id = s.set_id
where isfinite(one.rr) and isfinite(other.rr)
order by s.task, s.query_id, s.set_id
