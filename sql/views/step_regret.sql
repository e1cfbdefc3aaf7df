create or replace view step_regret as
with shown as (
    select s.batch_id, s.episode_id, s.step, e.task, e.model, e.arm, e.thinking, e.set_id, s.valid, s.taken[1] as gone, unnest(s.pool) as label
    from steps s
    join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
    where e.stage = 'evaluate' and s.mode = 'exclude'
),
graded as (
    select w.batch_id, w.episode_id, w.step, any_value(w.task) as task, any_value(w.model) as model, any_value(w.arm) as arm,
           any_value(w.thinking) as thinking, any_value(w.valid) as valid, count(*) as pool_size, min(c.relevance) as least,
           max(c.relevance) as most, avg(c.relevance) as mean, max(c.relevance) filter (where w.label = w.gone) as gone
    from shown w
    join stage_runs r on r.stage = 'evaluate' and r.batch_id = w.batch_id
    join candidates c on c.set_id = w.set_id and c.label = w.label and list_contains(r.inputs, c.batch_id)
    group by w.batch_id, w.episode_id, w.step
)
select batch_id, task, model, arm, thinking, pool_size, count(*) as calls,
       avg((gone - least) / (most - least)) as regret,
       avg((mean - least) / (most - least)) as chance,
       avg((gone = most)::integer) as lost_best,
       avg((not valid)::integer) as malformed
from graded
where most > least
group by batch_id, task, model, arm, thinking, pool_size
order by batch_id, task, model, thinking, pool_size desc;
comment on view step_regret is 'What exclusions cost, per evaluation, model and pool size: regret 0 is the least relevant gone, 1 the most relevant; chance is the regret of a random exclusion; lost_best is the share that excluded a most relevant candidate. Pools of equals are left out.';
