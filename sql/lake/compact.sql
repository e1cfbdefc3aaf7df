-- Merge the small Parquet files that many small commits leave. Older snapshots stay readable.
select schema_name || '.' || table_name as "table", files_processed as files_before, files_created as files_after
from ducklake_merge_adjacent_files('lake')
order by 1
