-- Evaluations whose verdicts used one of $gates parts of the test side, by part; of the same draw of it.
select (c.details ->> 'gate')::integer as gate, count(distinct v.evaluate_key) as looks
from promotion_tests t
join model_versions v on v.batch_id = t.batch_id
join stage_runs e on e.stage = 'evaluate' and e.batch_id = v.evaluate_key
join stage_runs c on c.stage = 'candidates' and list_contains(e.inputs, c.batch_id)
where t.p is not null and t.name = $name
  and (c.details ->> 'seed') = $seed and (c.details ->> 'test_share')::double = $test_share and (c.details ->> 'gates')::integer = $gates
group by gate
