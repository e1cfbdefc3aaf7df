-- Columns that do not have the type (or the name) that the lake's table declares.
-- remedy: write the columns as the migrations declare them
with staged as (
    select column_name, column_type from (describe staged_{table})
),
declared as (
    select column_name, column_type from (describe {table})
)
select coalesce(s.column_name, d.column_name) as column_name, s.column_type as staged, d.column_type as declared
from staged s
full join declared d on d.column_name = s.column_name
where s.column_type is distinct from d.column_type
