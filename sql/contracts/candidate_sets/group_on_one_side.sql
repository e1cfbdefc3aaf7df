-- Groups (users, sources) with queries on more than one side (train, valid, test): the test would be of what was learned.
-- remedy: split by group before anything is derived
select task, group_id, list_sort(list(distinct split)) as sides
from {batch}
group by task, group_id
having count(distinct split) > 1
