-- Which test queries does the trained policy rank worst?
-- The gold is the most relevant candidate; `given` is how large the pool was, so that a bad place can be judged.
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1)
select e.task, e.set_id, round(e.rr, 3) as rr, len(e.pool) as given, s.query, string_agg(c.text, ' | ' order by c.label) as gold, array_to_string(e.ranking, ' ') as ranking
from episodes e
join latest l on l.batch_id = e.batch_id
join candidate_sets s on s.set_id = e.set_id and list_contains(l.inputs, s.batch_id)
join candidates c on c.set_id = e.set_id and list_contains(l.inputs, c.batch_id)
where e.arm = 'rl' and e.strategy = 'iterative' and e.thinking
  and c.relevance = (select max(relevance) from candidates m where m.set_id = e.set_id and m.batch_id = c.batch_id)
group by e.task, e.set_id, e.rr, e.pool, s.query, e.ranking
order by e.rr, e.task, e.set_id
limit 20
