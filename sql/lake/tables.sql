-- Tables of the main schema, and whether their rows carry a batch.
select t.table_name as name, bool_or(c.column_name = 'batch_id') as batched
from duckdb_tables() t
join duckdb_columns() c using (database_name, schema_name, table_name)
where t.database_name = 'lake' and t.schema_name = 'main'
group by t.table_name
order by t.table_name
