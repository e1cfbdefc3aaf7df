-- What the latest verdict has seen of the spread of differences, by task.
select t.task, arg_max(t.spread, v.registered_at) as spread
from promotion_tests t
join model_versions v on v.batch_id = t.batch_id
where t.spread is not null and isfinite(t.spread) and t.name = $name
group by t.task
