-- Queries on more than one side (train, valid, test).
-- remedy: split by query before anything is derived
select task, query_id, list_sort(list(distinct split)) as sides
from {batch}
group by task, query_id
having count(distinct split) > 1
