-- MRR of each arm of one evaluation, the best strategy's of each: a row of the table over time.
select task, arm, round(max(value), 3) as mrr, arg_max(queries, value) as queries
from evaluations
where batch_id = $batch_id and metric = 'RR'
group by task, arm
order by task, arm
