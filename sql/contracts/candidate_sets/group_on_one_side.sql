-- Groups (users, sources) with queries both in train and in test: the test would be of what was learned.
-- remedy: split by group before anything is derived
select task, group_id, count(*) filter (where split = 'train') as train, count(*) filter (where split = 'test') as test
from {batch}
group by task, group_id
having count(distinct split) > 1
