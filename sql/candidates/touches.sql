-- Who of those asked (`asked`, a registered frame of user_id) ever touched what, whenever; in no order, and a repeated touch again.
select user_id, item_id
from interactions
semi join asked using (user_id)
where batch_id = $batch_id and task = $task
