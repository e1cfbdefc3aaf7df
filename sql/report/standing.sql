-- The champion in an evaluation of it, by task: now, in the latest evaluation before that had the same model rank the task in the same way, and beside a baseline row.
with scored as (
    select e.*, r.finished_at
    from evaluations e
    join stage_runs r on r.batch_id = e.batch_id and r.stage = 'evaluate'
    where e.metric = 'RR'
),
now as (
    from scored where batch_id = $batch_id and arm = 'champion'
),
before as (
    select n.task, arg_max(s, s.finished_at) as found
    from now n
    join scored s on s.task = n.task and s.model = n.model and s.strategy = n.strategy and s.thinking = n.thinking and s.finished_at < n.finished_at
    group by n.task
),
beside as (
    from comparisons where batch_id = $batch_id and metric = 'RR' and arm = 'champion' and against = $floor
)
select n.task, n.model, n.strategy, n.thinking, n.value, n.lower, n.upper, n.queries,
       b.found.batch_id as before_key, b.found.finished_at as before_at,
       b.found.value as before_value, b.found.lower as before_lower, b.found.upper as before_upper, b.found.queries as before_queries,
       c.difference as floor_value, c.lower as floor_lower, c.upper as floor_upper, c.queries as floor_queries
from now n
left join before b on b.task = n.task
left join beside c on c.task = n.task and c.strategy = n.strategy and c.thinking = n.thinking
order by n.task, n.strategy, n.thinking
