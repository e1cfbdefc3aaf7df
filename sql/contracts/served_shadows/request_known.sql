-- Shadow rankings of a request that was not answered: neither in this batch nor in an earlier one.
-- remedy: log a shadow's ranking behind its request; where the request's batch was refused (*.refused in the request log), mend and collect that one first
select s.set_id, s.model, s.version
from {batch} s
anti join (select set_id from staged_served_requests union all select set_id from served_requests) r on r.set_id = s.set_id
