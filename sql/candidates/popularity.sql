-- Interactions of training users by item; `splits` is a registered frame (group_id, split).
select i.item_id, count(distinct i.user_id) as touched
from interactions i
join splits s on s.group_id = i.user_id and s.split = 'train'
where i.batch_id = $batch_id and i.task = $task
group by i.item_id
order by i.item_id
