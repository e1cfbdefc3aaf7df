-- Metrics that lie between 0 and 1 and do not; costs below 0.
-- remedy: look at the metric's code
select task, arm, strategy, thinking, metric, value
from {batch}
where value < 0 or (value > 1 and metric in ('RR', 'nDCG@5', 'nDCG@10', 'Hit@1', 'Hit@3', 'malformed')) or not isfinite(value)
