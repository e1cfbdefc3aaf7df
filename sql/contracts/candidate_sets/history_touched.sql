-- Sets with something in their history that the user never touched.
-- remedy: take histories from the user's own interactions
with shown as (
    select set_id, task, group_id, unnest(query_items) as item_id from {batch} b
),
touched as (
    select task, user_id, item_id from interactions where batch_id in (select key from inputs_of_batch)
)
select h.set_id, h.task, h.group_id as user_id, h.item_id
from shown h
anti join touched n on n.task = h.task and n.user_id = h.group_id and n.item_id = h.item_id
