-- Queries both in train and in test.
-- remedy: split by query before anything is derived
select task, query_id, count(*) filter (where split = 'train') as train, count(*) filter (where split = 'test') as test
from {batch}
group by task, query_id
having count(distinct split) > 1
