-- The parent and its branch, one row each.
select 'before' as branch, e.episode_id, e.model, e.strategy, e.thinking, array_to_string(e.ranking, ' ') as ranking, e.rr, e.ndcg_10, e.calls, e.invalid_calls
from episodes e
join episodes b on b.parent_episode = e.episode_id and b.batch_id = $batch_id
where e.batch_id = $parent
union all
select 'after', episode_id, model, strategy, thinking, array_to_string(ranking, ' '), rr, ndcg_10, calls, invalid_calls from episodes where batch_id = $batch_id
