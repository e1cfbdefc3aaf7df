-- Snapshots older than $days days, the current one apart. Whether one may go is for its records to say.
select snapshot_id as snapshot, snapshot_time as at, coalesce(commit_message, '') as what
from lake.snapshots()
where snapshot_time < now() - to_microseconds(($days * 86400000000)::bigint)
  and snapshot_id < (select id from lake.current_snapshot() as t(id))
order by snapshot_id
