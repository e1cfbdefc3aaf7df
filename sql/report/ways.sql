-- The ways in which one evaluation ranked: task, arm, strategy and reasoning, with the queries of each.
select task, arm, model, strategy, thinking, count(*) as queries
from episodes
where batch_id = $batch_id
group by all
order by task, arm, model, strategy, thinking
