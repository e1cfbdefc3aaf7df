-- Interactions with an item that is not among the items.
-- remedy: add the item to the items file, or drop the row
select n.task, n.user_id, n.item_id
from {batch} n
anti join staged_items i on i.task = n.task and i.item_id = n.item_id
