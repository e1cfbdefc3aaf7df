-- Columns of one table or view, with what they hold.
select column_name as name, data_type as type, coalesce(comment, '') as holds
from system.main.duckdb_columns()
where database_name = 'lake' and schema_name = 'main' and table_name = $name
order by column_index
