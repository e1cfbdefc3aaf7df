-- What the promotion rule said of this evaluation, latest first.
select batch_id, name, version, alias, verdict, registered_at
from model_versions
where evaluate_key = $batch_id
order by registered_at desc
limit 1
