-- The latest doubly robust estimate of $model on each task's logged requests.
select task, gain, gain_lower, gain_upper, requests, effective
from traffic_estimates
where model = $model and estimator = 'DR'
qualify row_number() over (partition by task order by measured_at desc) = 1
order by task
