-- A branch beside the episode that it leaves, step by step; `before` and `after` are what was taken.
with branch as (
    select e.batch_id, e.episode_id, e.parent_episode, e.from_step from episodes e where e.batch_id = $batch_id and e.stage = 'replay'
),
old as (
    select s.step, s.pool, s.taken, s.valid, s.reason, s.reward
    from steps s join branch b on b.parent_episode = s.episode_id and s.batch_id = $parent
),
new as (
    select s.step, s.pool, s.taken, s.valid, s.reason, s.reward, s.model from steps s join branch b on b.batch_id = s.batch_id and b.episode_id = s.episode_id
)
select coalesce(o.step, n.step) as step, array_to_string(o.pool, ' ') as pool_before, array_to_string(o.taken, ' ') as before,
       coalesce(case when o.valid then 'valid' else o.reason end, '') as was, array_to_string(n.pool, ' ') as pool_after, array_to_string(n.taken, ' ') as after,
       coalesce(case when n.valid then 'valid' else n.reason end, '') as "is", n.model as answered_by
from old o
full join new n on n.step = o.step
order by 1
