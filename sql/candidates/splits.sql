-- The side of each group (user, module, question): groups in the order of a seeded digest fill the test side
-- until it holds its share, then the validation side its share of what is left; the last groups are sealed up to their share; all others train.
-- Of the test side one of $gates equal parts tests, $gate; the others are kept back.
-- Users weigh 1, other groups as many queries as they have.
with groups as (
    select user_id as group_id, 1 as weight from interactions where batch_id = $batch_id and task = $task group by user_id
    union all
    select group_id, count(*) as weight from queries where batch_id = $batch_id and task = $task group by group_id
),
placed as (
    select group_id, sum(weight) over (order by md5(concat_ws('|', $seed, 'split', $task, group_id)), group_id) - weight as before,
           sum(weight) over () as total
    from groups
)
select group_id, case when before < $test_share * total and least(floor(before * $gates / ($test_share * total)), $gates - 1) <> $gate - 1 then 'kept back'
                      when before < $test_share * total then 'test'
                      when before < ($test_share + $valid_share * (1 - $test_share)) * total then 'valid'
                      when before >= (1 - $audit_share) * total then 'sealed'
                      else 'train' end as split
from placed
order by group_id
