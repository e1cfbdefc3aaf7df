-- Negatives that the user touched at some time: false negatives. Where time separates the sides, what happened after a side's end is not known to it.
-- remedy: draw negatives among what the user never touched
with touched as (
    select task, user_id, item_id, happened_at from interactions where batch_id in (select key from inputs_of_batch)
),
tasks as (
    select t.shape ->> 0 as task, p.parameters -> 'cuts' as cuts
    from parameters_of_batch p, unnest((p.parameters -> 'tasks')::json[]) t(shape)
),
ends as (
    select task, e.side, (cuts -> task ->> e.moment)::timestamptz as side_end
    from tasks, (values ('train', 'train_before'), ('valid', 'test_from'), ('test', 'test_before')) e(side, moment)
)
select c.set_id, s.group_id as user_id, c.item_id, c.origin
from {batch} c
join staged_candidate_sets s on s.set_id = c.set_id
join touched n on n.task = s.task and n.user_id = s.group_id and n.item_id = c.item_id
left join ends e on e.task = s.task and e.side = s.split
where c.relevance <= 0 and (e.side_end is null or n.happened_at < e.side_end)
