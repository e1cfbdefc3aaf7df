-- What was mended in answers that were read tolerantly, and how often? A share is of that policy's answers; whole ones have the kind 'none'.
with answers as (
    select e.batch_id, e.task, e.arm, e.strategy, e.thinking, s.valid, s.repairs
    from steps s join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
    where s.repairs is not null
), kinds as (
    select *, unnest(case when not valid then ['invalid'] when len(repairs) = 0 then ['none'] else repairs end) as repair
    from answers
), totals as (
    select batch_id, task, arm, strategy, thinking, count(*) as answers
    from answers
    group by all
)
select k.task, k.arm, k.strategy, k.thinking, k.repair, count(*) as repaired, round(count(*) / any_value(t.answers), 3) as share
from kinds k join totals t using (batch_id, task, arm, strategy, thinking)
group by k.batch_id, k.task, k.arm, k.strategy, k.thinking, k.repair
order by k.task, k.arm, k.strategy, k.thinking, repaired desc, k.repair
