-- Snapshots older than $days days, the current one apart, and what made each. Whether one may go is for its records to say.
select snapshot_id as snapshot, snapshot_time as at,
       coalesce(commit_message, array_to_string(list_transform(map_entries(changes), e -> replace(e.key, '_', ' ') || ': ' || len(e.value)), ', ')) as what
from lake.snapshots()
where snapshot_time < now() - to_microseconds(($days * 86400000000)::bigint)
  and snapshot_id < (select id from lake.current_snapshot() as t(id))
order by snapshot_id
