-- How far apart the mean RR of trainings lies whose parameters are those of the training $train_key but for the seeds: by task, and of the mean over tasks ($all) where there are several.
-- Compared are trainings on the same data by the same code that ranked the same test queries, by one strategy and thinking; of several such groups the variances are pooled, each by its degrees of freedom.
with recipes as (
    select batch_id, inputs, code,
           json_merge_patch(parameters, '{"policy": {"seed": null}, "sft": {"seed": null}, "grpo": {"seed": null}, "likelihood": {"seed": null}}')::varchar as recipe
    from stage_runs
    where stage = 'train'
),
trainings as (
    select batch_id, code, inputs from recipes where recipe = (select recipe from recipes where batch_id = $train_key)
),
each as (
    select t.batch_id, md5(concat_ws('|', t.code, t.inputs::varchar, list_filter(r.inputs, lambda read: read <> t.batch_id)::varchar)) as data,
           r.batch_id as evaluation, e.task, e.queries, e.value as rr
    from trainings t
    join stage_runs r on r.stage = 'evaluate' and list_contains(r.inputs, t.batch_id)
    join evaluations e on e.batch_id = r.batch_id
    where e.arm = 'rl' and e.metric = 'RR' and e.strategy = $strategy and e.thinking = $thinking and isfinite(e.value)
),
named as (
    select batch_id, data, task, queries, rr from each
    union all
    select batch_id, data, $all as task, sum(queries) as queries, avg(rr) as rr from each group by batch_id, data, evaluation having count(*) > 1
),
trained as (
    select batch_id, data, task, queries, avg(rr) as rr from named group by batch_id, data, task, queries
),
varied as (
    select task, count(*) as seeds, var_samp(rr) as variance from trained group by task, data, queries having count(*) > 1
)
select task, sum(seeds)::integer as seeds, sum(seeds - 1)::integer as freedom, sqrt(sum((seeds - 1) * variance) / sum(seeds - 1)) as spread
from varied
group by task
order by task = $all, task
