-- Batches of served requests and of feedback that the lake still has rows of, and hours since they came.
select r.batch_id as key, r.stage, date_diff('second', r.finished_at, now()) / 3600.0 as hours
from stage_runs r
semi join (select batch_id from served_requests union all select batch_id from served_shadows union all select batch_id from feedback) b
    on b.batch_id = r.batch_id
where r.stage in ('serve', 'feedback')
order by hours desc
