-- The row that says "done"; it goes in with the data, in one transaction.
insert into stage_runs by name
select $stage as stage, $key as batch_id, $flow_run as flow_run, $inputs::varchar[] as inputs, $parameters as parameters, $code as code,
       $identity as identity, $read_snapshot as read_snapshot, $rows_written as rows_written, $details as details, now() as finished_at
