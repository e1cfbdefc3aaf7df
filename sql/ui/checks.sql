-- What the contracts said of every batch, the latest first; `failed` counts expectations that did not hold.
select stage, table_name, batch_id, max(judged_at) as judged_at, bool_and(accepted) as accepted, count(*) as expectations,
       count(*) filter (where not success) as failed
from contract_results
group by stage, table_name, batch_id
order by judged_at desc, table_name
limit $most
