-- Does a policy like some letters?
-- Labels are given by place, so this is order bias seen from its other side: how often a label is named first when it is shown.
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1),
shown as (
    select e.task, e.arm, s.mode, s.action[1] as named, unnest(s.pool) as label, 1.0 / len(s.pool) as chance
    from steps s
    join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
    join latest l on l.batch_id = e.batch_id
    where s.valid
)
select task, arm, mode, label, count(*) as times_shown, round(avg((named = label)::integer), 3) as named, round(avg(chance), 3) as chance
from shown
group by task, arm, mode, label
order by task, arm, mode, label
