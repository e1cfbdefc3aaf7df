-- A label is its number (A 1, … Z 26, AA 27, …), and a set one list of grades in that order: what is shown is looked up by
-- place, three times as fast as a join of every label shown to its candidate. Pools of equals are filtered in the
-- aggregates: as a condition, DuckDB would look every pool up twice.
create or replace view step_regret as
with grades as (
    select r.batch_id, c.set_id, list(c.relevance order by len(c.label), c.label) as relevance
    from candidates c
    join stage_runs r on r.stage = 'evaluate' and list_contains(r.inputs, c.batch_id)
    group by r.batch_id, c.set_id
),
shown as (
    select e.batch_id, e.task, e.model, e.arm, e.thinking, s.valid, len(s.pool) as pool_size,
           list_transform(s.pool, lambda l: g.relevance[case when len(l) = 1 then ascii(l) - 64 else 26 * (ascii(l) - 64) + ascii(l[2:]) - 64 end]) as pool,
           g.relevance[case when len(s.taken[1]) = 1 then ascii(s.taken[1]) - 64 else 26 * (ascii(s.taken[1]) - 64) + ascii(s.taken[1][2:]) - 64 end] as gone
    from steps s
    join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
    join grades g on g.batch_id = e.batch_id and g.set_id = e.set_id
    where e.stage = 'evaluate' and s.mode = 'exclude' and len(s.taken) > 0
),
graded as (
    select * exclude (pool), list_min(pool) as least, list_max(pool) as most, list_avg(pool) as mean from shown
)
select batch_id, task, model, arm, thinking, pool_size, count(*) filter (where most > least) as calls,
       avg((gone - least) / nullif(most - least, 0)) as regret,
       avg((mean - least) / nullif(most - least, 0)) as chance,
       avg((gone = most)::integer) filter (where most > least) as lost_best,
       avg((not valid)::integer) filter (where most > least) as malformed
from graded
group by batch_id, task, model, arm, thinking, pool_size
having calls > 0
order by batch_id, task, model, thinking, pool_size desc;
comment on view step_regret is 'What exclusions cost, per evaluation, model and pool size: regret 0 is the least relevant gone, 1 the most relevant; chance is the regret of a random exclusion; lost_best is the share that excluded a most relevant candidate. Pools of equals are left out.';
