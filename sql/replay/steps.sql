-- The steps of one episode before $before, as they were.
select s.* exclude (batch_id, model, strategy, seed), coalesce(s.model, e.model) as model, coalesce(s.strategy, e.strategy) as strategy, coalesce(s.seed, e.seed) as seed
from steps s
join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
where s.batch_id = $batch_id and s.episode_id = $episode and s.step < $before
order by s.step
