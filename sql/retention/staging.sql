-- Staging tables, and hours since they were made; one whose snapshot has expired is older than any.
select t.table_name as name, coalesce(date_diff('second', s.snapshot_time, now()) / 3600.0, 'infinity'::double) as hours
from __ducklake_metadata_lake.ducklake_table t
join __ducklake_metadata_lake.ducklake_schema c on c.schema_id = t.schema_id
left join lake.snapshots() s on s.snapshot_id = t.begin_snapshot
where t.end_snapshot is null and c.end_snapshot is null and c.schema_name = 'staging'
order by name
