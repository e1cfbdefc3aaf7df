-- Sets whose query (or, where a task has no queries, whose user) is not among the inputs, or is in another group there.
-- remedy: draw sets from what ingest has read
with known as (
    select task, query_id, group_id from queries where batch_id in (select key from inputs_of_batch)
),
users as (
    select distinct task, user_id from interactions where batch_id in (select key from inputs_of_batch)
)
select s.set_id, s.task, s.query_id, s.group_id
from {batch} s
left join known k on k.task = s.task and k.query_id = s.query_id and k.group_id = s.group_id
left join users u on u.task = s.task and u.user_id = s.group_id
where k.query_id is null and u.user_id is null
