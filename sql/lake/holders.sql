-- What else is connected to a PostgreSQL catalog, longest transaction first. Runs inside PostgreSQL;
-- sessions of the process that asks bear its name and are left out.
select pid, coalesce(nullif(application_name, ''), '?') as application, coalesce(host(client_addr), 'this machine') as client,
       coalesce(state, '?') as state, cast(extract(epoch from now() - xact_start) as integer) as seconds, left(query, 120) as query
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
  and (application_name = '' or application_name <> current_setting('application_name'))
order by xact_start nulls last, pid
