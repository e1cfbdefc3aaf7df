insert into contract_checks by name
select $key as batch_id, $stage as stage, *, $accepted as accepted, now() as judged_at from incoming
