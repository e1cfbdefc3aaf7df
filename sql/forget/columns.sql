-- Tables with columns that say whose a row is, refused and staged batches among them.
select t.database_name || '.' || t.schema_name || '.' || t.table_name as name, list(c.column_name order by c.column_name) as columns
from duckdb_tables() t
join duckdb_columns() c using (database_name, schema_name, table_name)
where t.database_name = 'lake' and c.column_name in ('user_id', 'set_id', 'episode_id')
group by all
order by name
