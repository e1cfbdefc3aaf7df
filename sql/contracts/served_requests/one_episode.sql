-- Requests without exactly one episode by the same model on the same task, and episodes without a request.
-- remedy: write a request and its episode together
select coalesce(r.set_id, e.set_id) as set_id, r.task, r.model, count(e.episode_id) as episodes
from {batch} r
full join (select * from staged_episodes where arm <> 'shadow') e on e.set_id = r.set_id and e.task = r.task and e.model = r.model
group by all
having r.task is null or count(e.episode_id) <> 1
