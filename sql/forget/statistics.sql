-- The least and greatest text of each column, which the catalog keeps to skip files, and which may be of a row that is gone: unknown from here on.
update __ducklake_metadata_lake.ducklake_table_column_stats set min_value = null, max_value = null
where (table_id, column_id) in (select (table_id, column_id) from __ducklake_metadata_lake.ducklake_column where column_type = 'varchar')
