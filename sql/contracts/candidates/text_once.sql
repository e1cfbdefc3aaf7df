-- Candidates of one set that read alike: no answer could tell them apart.
-- remedy: drop one of the items, or give them distinct texts
select set_id, text, list(item_id order by slot) as items
from {batch}
group by set_id, text
having count(*) > 1
