-- Negatives that the user touched at some time: false negatives.
-- remedy: draw negatives among what the user never touched
with touched as (
    select task, user_id, item_id from interactions where batch_id in (select key from inputs_of_batch)
)
select c.set_id, s.group_id as user_id, c.item_id, c.origin
from {batch} c
join staged_candidate_sets s on s.set_id = c.set_id
semi join touched n on n.task = s.task and n.user_id = s.group_id and n.item_id = c.item_id
where c.relevance <= 0
