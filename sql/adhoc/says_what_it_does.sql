-- Does the policy act on its own reasoning?
-- Exclusions with a grade for each candidate ("A 3" or "A: 3"): how often the one that goes has the lowest grade given.
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1),
graded as (
    select e.task, e.arm, s.action[1] as gone,
           regexp_extract_all(regexp_extract(s.completion, '<think>(.*)</think>', 1), '\b([A-Z]{1,2}):? \d\b', 1) as labels,
           list_transform(regexp_extract_all(regexp_extract(s.completion, '<think>(.*)</think>', 1), '\b[A-Z]{1,2}:? (\d)\b', 1), g -> g::integer) as grades,
           s.pool
    from steps s
    join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
    join latest l on l.batch_id = e.batch_id
    where s.valid and s.mode = 'exclude' and e.thinking
)
select task, arm, count(*) as answers, round(avg((list_sort(labels) = list_sort(pool))::integer), 3) as graded_every_candidate,
       round(avg((grades[list_position(labels, gone)] = list_min(grades))::integer), 3) as excluded_a_lowest
from graded
group by task, arm
order by task, arm
