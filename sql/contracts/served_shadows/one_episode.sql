-- Shadow rankings without exactly one episode of the arm `shadow` by the same model, and such episodes without a ranking.
-- remedy: write a shadow's ranking and its episode together
select coalesce(s.set_id, e.set_id) as set_id, s.model, count(e.episode_id) as episodes
from {batch} s
full join (select * from staged_episodes where arm = 'shadow') e on e.set_id = s.set_id and e.model = s.model
group by s.set_id, e.set_id, s.model
having s.model is null or count(e.episode_id) <> 1
