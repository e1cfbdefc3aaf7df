-- What has been checked? Expectations judged per table and stage run, and how many rows each run brought.
-- Accepted batches only; a refused one lies in the schema quarantine.
select c.stage, c.table_name, c.batch_id, count(*) as expectations, count(*) filter (where not c.success) as warnings, max(c.judged_at) as judged_at,
       (r.rows_written ->> c.table_name)::bigint as rows
from contract_results c
join stage_runs r on r.stage = c.stage and r.batch_id = c.batch_id
group by c.stage, c.table_name, c.batch_id, rows
order by judged_at, c.table_name
