-- The rows themselves that came into and went out of one table after snapshot $first, up to and with $last.
select * exclude (rowid, snapshot_id), snapshot_id as snapshot
from ducklake_table_changes('lake', 'main', $table, $first, $last)
where snapshot_id > $first
order by snapshot_id, change_type, rowid
