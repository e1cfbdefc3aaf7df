-- Estimates outside their interval, or an effective sample beyond the requests.
-- remedy: look at ranker/metrics/counterfactual.py
select model, task, estimator, value, lower, upper, gain, gain_lower, gain_upper, effective, requests
from {batch}
where lower > upper or gain_lower > gain_upper or effective > requests + 1e-6
