-- Sets whose pool does not have `pool_size` candidates.
-- remedy: lower candidates.pool_size for this task, or give it more items
select s.set_id, s.task, s.pool_size, count(c.set_id) as candidates
from {batch} s
left join staged_candidates c on c.set_id = s.set_id
group by s.set_id, s.task, s.pool_size
having count(c.set_id) <> s.pool_size
