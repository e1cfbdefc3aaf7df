-- How many verdicts on other evaluations have used today's test queries ($queries: task|query_id), as a mean over them.
with today as (
    select distinct unnest($queries::varchar[]) as query
),
used as (
    select distinct v.evaluate_key, t.task || '|' || unnest(t.query_ids) as query
    from promotion_tests t
    join model_versions v on v.batch_id = t.batch_id
    where t.p is not null and t.name = $name and v.evaluate_key <> $batch_id
)
select count(used.query) / greatest(count(distinct today.query), 1) as uses
from today
left join used on used.query = today.query
