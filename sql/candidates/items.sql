-- Items of a task; `same` numbers the texts, so that two items with one text count as one.
select item_id, title, text, dense_rank() over (order by text) - 1 as same
from items
where batch_id = $batch_id and task = $task
order by item_id
