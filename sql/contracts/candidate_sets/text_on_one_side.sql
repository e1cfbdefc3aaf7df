-- Queries of one text (whatever case and spaces) on more than one side (train, valid, test). Passages and routing only: synthetic data has few possible queries.
-- remedy: give them one group in the source, so that the split keeps them together
with asked as (
    select t.shape ->> 0 as task
    from parameters_of_batch p, unnest((p.parameters -> 'tasks')::json[]) t(shape)
    where t.shape ->> 1 in ('passage', 'routing')
)
select s.task, left(any_value(s.query), 120) as query, list_sort(list(distinct s.split)) as sides, count(*) as sets
from {batch} s
semi join asked a on a.task = s.task
group by s.task, regexp_replace(trim(lower(s.query)), '\s+', ' ', 'g')
having count(distinct s.split) > 1
