-- Events that an earlier batch has already.
-- remedy: leave out what the table feedback has, by event_id
select b.event_id, b.set_id, b.item_id
from {batch} b
semi join (select event_id from feedback where batch_id not in (select batch_id from {batch})) f on f.event_id = b.event_id
