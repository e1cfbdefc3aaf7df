-- Documents whose slot is not that of their label in the pool, or whose place is not that of the ranking.
-- remedy: take slots and places from the request's episode
select c.set_id, c.label, c.slot, c.place, e.pool, e.ranking
from {batch} c
join staged_episodes e on e.set_id = c.set_id and e.arm <> 'shadow'
where e.pool[c.slot + 1] is distinct from c.label or e.ranking[c.place] is distinct from c.label
