-- Targets of recommendation with the items touched just before them. An item counts at its first touch; equal times
-- are ordered by a seeded digest (an order by item id would leak: ids of one moment rise towards the target).
-- Held-out users (test, valid): their latest $per_test targets. Training users: $per_train drawn by digest. `splits` is a registered frame.
with first_touch as (
    select user_id, item_id, min(happened_at) as happened_at
    from interactions
    where batch_id = $batch_id and task = $task
    group by user_id, item_id
),
ordered as (
    select user_id, item_id, row_number() over w as place, count(*) over (partition by user_id) as touched,
           list(item_id) over (w rows between $history preceding and 1 preceding) as query_items
    from first_touch
    window w as (partition by user_id order by happened_at, md5(concat_ws('|', $seed, 'tie', user_id, item_id)))
),
drawn as (
    select o.user_id, o.item_id, o.query_items, s.split, o.touched - o.place as from_last,
           row_number() over (partition by o.user_id order by md5(concat_ws('|', $seed, 'target', o.user_id, o.item_id))) as draw
    from ordered o
    join splits s on s.group_id = o.user_id
    where o.place > $least
),
kept as (
    select *, row_number() over (partition by split order by md5(concat_ws('|', $seed, 'cap', user_id, item_id)), user_id, item_id) as number
    from drawn
    where case split when 'train' then draw <= $per_train else from_last < $per_test end
)
select concat_ws(':', user_id, item_id) as query_id, user_id as group_id, split, item_id as positive, query_items
from kept
where number <= case split when 'test' then $max_test when 'valid' then $max_valid else $max_train end
order by query_id
