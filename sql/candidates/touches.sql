-- Who of those asked (`asked`, a registered frame of user_id) ever touched what, whenever.
select distinct user_id, item_id
from interactions
semi join asked using (user_id)
where batch_id = $batch_id and task = $task
order by user_id, item_id
