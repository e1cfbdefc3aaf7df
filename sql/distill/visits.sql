-- What training users touched first when, in order, before the training side's end ($before, null: it has none); `splits` is a
-- registered frame (group_id, split). Equal times are ordered by a seeded digest: an order by item id would leak, as ids of one
-- moment rise.
with first_touch as (
    select user_id, item_id, min(happened_at) as happened_at
    from interactions
    where batch_id = $batch_id and task = $task and ($before::timestamptz is null or happened_at < $before::timestamptz)
    group by user_id, item_id
)
select f.user_id, f.item_id
from first_touch f
join splits s on s.group_id = f.user_id and s.split = 'train'
order by f.user_id, f.happened_at, md5(concat_ws('|', $seed, 'tie', f.user_id, f.item_id))
