-- What a user's rows have in which column: $user itself, requests ($sets: those that logs name), candidate sets of the user's history, and their episodes.
-- A request that names another user is not theirs, whatever feedback says.
with sets as (
    select set_id from served_requests where user_id = $user
    union
    select f.set_id from feedback f left join served_requests r on r.set_id = f.set_id where f.user_id = $user and coalesce(r.user_id, $user) = $user
    union
    select unnest($sets::varchar[])
    union
    select s.set_id from candidate_sets s semi join interactions i on i.task = s.task and i.user_id = s.group_id where s.group_id = $user
)
select 'user_id' as "column", $user::varchar as value
union all
select 'set_id', set_id from sets
union all
select distinct 'episode_id', e.episode_id from episodes e semi join sets s on s.set_id = e.set_id
