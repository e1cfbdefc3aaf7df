-- The tests behind a verdict; the mean over all tasks last.
select task, against, queries, planned, look, level, difference, lower, upper, p, p_holm, least, detectable
from promotion_tests
where batch_id = $batch_id
order by task = 'all tasks', task
