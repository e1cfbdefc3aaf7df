-- Valid steps whose completion answers (<answer> … </answer>) otherwise than their action says, or whose action is not what was acted on: the whole of it, or of an order its end, worst first (at least one label), or an exclusion and then more of the lowest grades in its reasoning. Where labels were scored, nothing may be acted on but the action. An answer that was read tolerantly (repairs is not null) needs no tags.
-- remedy: act on the action that was parsed from the completion
with answered as (
    select episode_id, step, mode, scores, pool, action, taken, completion,
           string_split_regex(trim(regexp_extract(completion, '<answer>(.*)</answer>', 1, 's'), E' \n\t'), '\s+') as answer
    from {batch} b
    where valid and repairs is null
),
odd as (
    select *, regexp_extract(completion, '<think>(.*?)</think>', 1, 's') as reasoning, '\b([A-Z][A-Z]?):? (\d)\b' as form,
           regexp_extract_all(reasoning, form, 1) as labels, regexp_extract_all(reasoning, form, 2) as grades
    from answered
    where scores is null and answer is distinct from action
       or taken is distinct from action
          and not (scores is not null and len(taken) = 0)
          and not (mode = 'rank' and len(taken) between 1 and len(action) - 1 and taken = list_reverse(action)[: len(taken)])
),
graded as (
    select *, map(labels, grades) as grade
    from odd
    where mode = 'exclude' and scores is null and answer is not distinct from action and len(taken) < len(pool) and taken[: len(action)] = action
      and list_sort(labels) = list_sort(pool)
)
select episode_id, step, action, taken, answer
from odd
where (episode_id, step) not in (
    select (episode_id, step)
    from graded
    where list_max(list_transform(taken[len(action) + 1 :], lambda label: grade[label])) <= list_min(list_transform(list_filter(pool, lambda label: not list_contains(taken, label)), lambda label: grade[label]))
)
