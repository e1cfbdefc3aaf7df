-- What a statement may read: tables and views of the lake in any of its schemas, a view with its definition; and which functions of the lake hide one of DuckDB's.
-- Functions are named in full, as a function of the lake goes before DuckDB's of the same name.
select 'table' as kind, schema_name as schema, table_name as name, null as definition from system.main.duckdb_tables() where database_name = 'lake'
union all
select 'view', schema_name, view_name, sql from system.main.duckdb_views() where database_name = 'lake' and not internal
union all
select 'hides', own.schema_name, own.function_name, null
from system.main.duckdb_functions() own
where own.database_name = 'lake' and not own.internal
  and exists (from system.main.duckdb_functions() known where known.database_name = 'system' and known.function_name collate nocase = own.function_name)
