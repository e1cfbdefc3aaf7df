-- Where time separates the sides, in microseconds since 1970: the latest $test_share of a task's interactions test, of those before
-- them the latest $valid_share validate. What happened at one moment is on one side; from $test_before (null: never) on nothing counts.
with placed as (
    select epoch_us(happened_at) as us, row_number() over (order by happened_at) - 1 as place, count(*) over () as total
    from interactions
    where batch_id = $batch_id and task = $task and ($test_before::timestamptz is null or happened_at < $test_before::timestamptz)
)
select min(us) filter (place >= round((1 - $test_share) * (1 - $valid_share) * total, 6)) as train_before,
       min(us) filter (place >= round((1 - $test_share) * total, 6)) as test_from
from placed
