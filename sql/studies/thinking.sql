-- What each budget of reasoning got and took on every test query.
select e.set_id, s.group_id, e.task, e.strategy, e.completion_tokens, e.milliseconds, e.rr, e.ndcg_10
from episodes e
join candidate_sets s on s.set_id = e.set_id and s.batch_id = $sets
where e.batch_id = $batch_id
order by e.task, e.set_id, e.strategy
