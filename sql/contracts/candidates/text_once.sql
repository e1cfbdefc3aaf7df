-- Candidates of one set that read alike: no answer could tell them apart.
-- remedy: drop one of the items, or give them distinct texts
-- The items are listed only where a text comes twice: a list for each of two million texts would take most of a judgement's time.
with twice as (
    select set_id, text from {batch} group by set_id, text having count(*) > 1
)
select c.set_id, c.text, list(c.item_id order by c.slot) as items
from {batch} c
join twice t on t.set_id = c.set_id and t.text = c.text
group by c.set_id, c.text
