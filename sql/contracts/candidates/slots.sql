-- Sets whose slots are not 0 to n - 1, each once.
-- remedy: number the shown order from 0
select set_id, count(*) as candidates, min(slot) as lowest, max(slot) as highest, count(distinct slot) as slots
from {batch}
group by set_id
having min(slot) <> 0 or max(slot) <> count(*) - 1 or count(distinct slot) <> count(*)
