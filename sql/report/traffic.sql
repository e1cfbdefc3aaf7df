-- What the models of one evaluation would have got on logged requests, a row an estimator.
select t.task, a.arm, t.strategy, t.thinking, t.estimator, t.requests, t.depth, t.value, t.lower, t.upper, t.gain, t.gain_lower, t.gain_upper, t.effective
from traffic_estimates t
join (select distinct task, arm, model, strategy, thinking from evaluations where batch_id = $batch_id) a
  on a.task = t.task and a.model = t.model and a.strategy = t.strategy and a.thinking = t.thinking
where t.batch_id = $batch_id
order by t.task, a.arm, t.estimator
