-- Every snapshot and what made it; those without a message by what they changed.
select snapshot_id as snapshot, snapshot_time as at,
       coalesce(commit_message, array_to_string(list_transform(map_entries(changes), e -> replace(e.key, '_', ' ') || ': ' || len(e.value)), ', ')) as what
from lake.snapshots()
order by snapshot_id
