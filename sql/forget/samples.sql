-- Sample rows of contracts that show what goes.
update contract_checks set samples = null
where samples is not null and exists (select 1 from erased e where contains(samples, '"' || e.value || '"'))
