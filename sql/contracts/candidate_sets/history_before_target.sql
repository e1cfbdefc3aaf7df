-- Sets whose history holds something that happened after their target: it tells the future. Recommendation only.
-- remedy: take histories from what the user had touched before the target
with asked as (
    select t.shape ->> 0 as task
    from parameters_of_batch p, unnest((p.parameters -> 'tasks')::json[]) t(shape)
    where t.shape ->> 1 = 'recommendation'
),
touched as (
    select task, user_id, item_id, min(happened_at) as happened_at
    from interactions
    where batch_id in (select key from inputs_of_batch)
    group by task, user_id, item_id
),
targets as (
    select s.set_id, min(n.happened_at) as happened_at
    from {batch} s
    semi join asked a on a.task = s.task
    join staged_candidates c on c.set_id = s.set_id and c.relevance > 0
    join touched n on n.task = s.task and n.user_id = s.group_id and n.item_id = c.item_id
    group by s.set_id
),
shown as (
    select set_id, task, group_id, unnest(query_items) as item_id from {batch} b
)
select h.set_id, h.task, h.group_id as user_id, h.item_id, n.happened_at, t.happened_at as target_at
from shown h
join targets t on t.set_id = h.set_id
join touched n on n.task = h.task and n.user_id = h.group_id and n.item_id = h.item_id
where n.happened_at > t.happened_at
