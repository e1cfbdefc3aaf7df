-- Titles of the items of a history, in its order.
select i.item_id, any_value(i.title) as title
from items i
where list_contains($items, i.item_id) and i.task = $task
group by i.item_id
