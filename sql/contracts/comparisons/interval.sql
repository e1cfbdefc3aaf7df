-- Intervals that end before they start, or are not finite.
-- remedy: look at the bootstrap
select task, strategy, metric, arm, against, lower, upper
from {batch}
where lower > upper or not isfinite(difference) or not isfinite(lower) or not isfinite(upper)
