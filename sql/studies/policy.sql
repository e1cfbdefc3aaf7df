-- MRR of the trained policy in an evaluation, with its interval, by task.
select task, value, lower, upper
from evaluations
where batch_id = $batch_id and arm = 'rl' and metric = 'RR'
order by task
