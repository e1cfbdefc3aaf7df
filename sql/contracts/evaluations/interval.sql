-- Intervals that end before they start.
-- remedy: look at the bootstrap
select task, arm, strategy, metric, lower, upper from {batch} where lower > upper
