-- First interactions of one part of the users ($low <= number < $high), by number of user and item; `splits` (group_id, number) and
-- `catalogue` (item_id, number) are registered frames. Equal times stand in the order of the item's number: the reader shuffles them.
-- What happened from $until (null: never) on is left out.
select u.number as user_number, n.number as item_number, epoch_us(min(i.happened_at)) as happened_at
from interactions i
join splits u on u.group_id = i.user_id
join catalogue n on n.item_id = i.item_id
where i.batch_id = $batch_id and i.task = $task and u.number >= $low and u.number < $high
  and ($until::timestamptz is null or i.happened_at < $until::timestamptz)
group by u.number, n.number
order by u.number, happened_at, n.number
