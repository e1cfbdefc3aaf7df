-- RR of the policy minus RR of a baseline row, by task.
select task, difference, lower, upper, queries
from comparisons
where batch_id = $batch_id and metric = 'RR' and arm = 'rl' and against = $against and strategy = $strategy and thinking = $thinking
order by task
