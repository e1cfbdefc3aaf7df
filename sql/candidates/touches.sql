-- Who ever touched what, whenever.
select distinct user_id, item_id
from interactions
where batch_id = $batch_id and task = $task
order by user_id, item_id
