-- How did quality move from one evaluation to the next?
-- MRR of every evaluation in the lake with its difference to the one before; queries may differ where the pools do.
select r.finished_at, e.batch_id, e.task, e.arm, e.strategy, e.thinking, round(e.value, 4) as mrr, e.queries,
       round(e.value - lag(e.value) over (partition by e.task, e.arm, e.strategy, e.thinking order by r.finished_at), 4) as change
from evaluations e
join stage_runs r on r.stage = 'evaluate' and r.batch_id = e.batch_id
where e.metric = 'RR'
order by e.task, e.arm, e.strategy, e.thinking, r.finished_at
