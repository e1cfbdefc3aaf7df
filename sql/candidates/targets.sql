-- Targets of recommendation with the items touched just before them. An item counts at its first touch; equal times
-- are ordered by a seeded digest (an order by item id would leak: ids of one moment rise towards the target).
-- Held-out users (test, valid): their latest $per_test targets. Training users: $per_train drawn by digest. `splits` is a registered frame.
-- Memory: one part of the users at a time ($part of $parts), digests as numbers of their first 60 bits, and one list a user,
-- from which the histories of the targets kept are cut at the end. `cap` is the digest by which a side is cut over all parts.
with first_touch as (
    select user_id, item_id, min(happened_at) as happened_at
    from interactions
    where batch_id = $batch_id and task = $task and hash(user_id) % $parts::ubigint = $part::ubigint
    group by user_id, item_id
),
people as materialized (
    select user_id, list(item_id order by happened_at, ('0x' || left(md5(concat_ws('|', $seed, 'tie', user_id, item_id)), 15))::bigint) as touched
    from first_touch
    group by user_id
),
placed as (
    select user_id, unnest(touched) as item_id, generate_subscripts(touched, 1) as place, len(touched) as places from people
),
drawn as (
    select o.user_id, o.item_id, o.place, s.split, o.places - o.place as from_last,
           row_number() over (partition by o.user_id order by ('0x' || left(md5(concat_ws('|', $seed, 'target', o.user_id, o.item_id)), 15))::bigint) as draw
    from placed o
    join splits s on s.group_id = o.user_id
    where o.place > $least
),
capped as (
    select user_id, item_id, place, split, ('0x' || left(md5(concat_ws('|', $seed, 'cap', user_id, item_id)), 15))::bigint as cap
    from drawn
    where case split when 'train' then draw <= $per_train else from_last < $per_test end
    qualify row_number() over (partition by split order by cap, user_id, item_id) <= case split when 'test' then $max_test when 'valid' then $max_valid else $max_train end
)
select concat_ws(':', c.user_id, c.item_id) as query_id, c.user_id as group_id, c.split, c.item_id as positive,
       p.touched[greatest(1, c.place - $history):c.place - 1] as query_items, c.cap
from capped c
join people p on p.user_id = c.user_id
