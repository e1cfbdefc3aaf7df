-- Only the latest audit of a model on a task in a way: another one replaces it.
create or replace view injection as
with latest as (
    select model, task, strategy, thinking, arg_max(batch_id, measured_at) as batch_id from injections group by model, task, strategy, thinking
)
select i.model, i.task, i.strategy, i.thinking, arg_max(i.text, i.rise) as text, max(i.rise) as rise, arg_max(i.lower, i.rise) as lower, arg_max(i.upper, i.rise) as upper,
       any_value(i.queries) as queries, any_value(i.measured_at) as measured_at
from injections i
join latest l on l.batch_id = i.batch_id and l.model = i.model and l.task = i.task and l.strategy = i.strategy and l.thinking = i.thinking
where i.control is not null
group by i.model, i.task, i.strategy, i.thinking;
comment on view injection is 'The latest injection audit (`ranker audit injection`), a row per model, task, strategy and thinking: the attack that raises who brings it most, and by how much of the way from last to first beyond the control, with its 95% interval.';
