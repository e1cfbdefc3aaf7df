-- Episodes whose steps are not numbered 0 to n - 1, each once.
-- remedy: number an episode's steps from 0
select episode_id, count(*) as steps, min(step) as lowest, max(step) as highest
from {batch}
group by episode_id
having min(step) <> 0 or max(step) <> count(*) - 1
