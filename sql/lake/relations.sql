-- Tables and views of the main schema, with what they hold.
select table_name as name, 'table' as kind, comment as holds from system.main.duckdb_tables() where database_name = 'lake' and schema_name = 'main'
union all
select view_name, 'view', comment from system.main.duckdb_views() where database_name = 'lake' and schema_name = 'main'
order by kind, name
