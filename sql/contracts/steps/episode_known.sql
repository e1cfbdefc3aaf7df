-- Steps of an episode that is not in this batch.
-- remedy: write an episode and its steps together
select t.episode_id, t.step
from {batch} t
anti join staged_episodes e on e.episode_id = t.episode_id
