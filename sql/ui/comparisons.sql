-- One evaluation's paired differences in MRR, with 95% intervals.
select task, arm || ' − ' || against as difference_of, strategy, thinking, difference, lower, upper, queries,
       case when lower > 0 then 'above' when upper < 0 then 'below' else 'not clear' end as verdict
from comparisons
where batch_id = $batch_id and metric = 'RR'
order by task, strategy, thinking, difference_of
