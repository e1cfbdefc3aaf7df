-- Groups (users, sources) with queries on more than one side (train, valid, test): the test would be of what was learned. Not where time separates the sides: there users go on.
-- remedy: split by group before anything is derived
select task, group_id, list_sort(list(distinct split)) as sides
from {batch} s
where not exists (select 1 from parameters_of_batch p where (p.parameters -> 'cuts' -> s.task) is not null)
group by task, group_id
having count(distinct split) > 1
