-- Positives that the user never touched. Recommendation only.
-- remedy: take positives from the user's own interactions
with touched as (
    select task, user_id, item_id from interactions where batch_id in (select key from inputs_of_batch)
),
asked as (
    select t.shape ->> 0 as task
    from parameters_of_batch p, unnest((p.parameters -> 'tasks')::json[]) t(shape)
    where t.shape ->> 1 = 'recommendation'
)
select c.set_id, s.task, s.group_id as user_id, c.item_id
from {batch} c
join staged_candidate_sets s on s.set_id = c.set_id
semi join asked a on a.task = s.task
anti join touched n on n.task = s.task and n.user_id = s.group_id and n.item_id = c.item_id
where c.relevance > 0
