-- Does the policy act on its own reasoning, and is the reasoning right?
-- Exclusions with a grade for each candidate ("A 3" or "A: 3"): how often the one that goes has the lowest grade given, and of the pairs of candidates of
-- unequal relevance how many are graded in that order, a tie being half (the area under the ROC curve, 0.5 by chance).
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1),
relevant as (
    select c.set_id, map(list(c.label), list(c.relevance)) as relevance
    from candidates c
    join latest l on list_contains(l.inputs, c.batch_id)
    group by c.set_id
),
graded as (
    select e.task, e.arm, s.action[1] as gone, r.relevance, s.pool,
           regexp_extract_all(regexp_extract(s.completion, '<think>(.*)</think>', 1), '\b([A-Z]{1,2}):? \d\b', 1) as labels,
           list_transform(regexp_extract_all(regexp_extract(s.completion, '<think>(.*)</think>', 1), '\b[A-Z]{1,2}:? (\d)\b', 1), lambda g: g::integer) as grades
    from steps s
    join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
    join latest l on l.batch_id = e.batch_id
    join relevant r on r.set_id = e.set_id
    where s.valid and s.mode = 'exclude' and e.thinking
),
paired as (
    select *, list_transform(labels, lambda l: relevance[l]) as worth,
           flatten(list_transform(range(1, len(labels) + 1), lambda i: list_transform(range(1, len(labels) + 1), lambda j: {'better': i, 'worse': j}))) as pairs
    from graded
),
told as (
    select *, list_avg(list_transform(list_filter(pairs, lambda p: worth[p.better] > worth[p.worse]), lambda p: (sign(grades[p.better] - grades[p.worse]) + 1) / 2)) as in_order
    from paired
)
select task, arm, count(*) as answers, round(avg((list_sort(labels) = list_sort(pool))::integer), 3) as graded_every_candidate,
       round(avg((grades[list_position(labels, gone)] = list_min(grades))::integer), 3) as excluded_a_lowest, round(avg(in_order), 3) as pairs_in_order
from told
group by task, arm
order by task, arm
