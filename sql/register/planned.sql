-- How many test queries an evaluation of the candidate sets $sets ranks, by task.
select task, least(count(*), $most) as planned
from candidate_sets
where batch_id = $sets and split = 'test'
group by task
order by task
