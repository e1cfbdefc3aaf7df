-- Steps whose reward is not the sum of its parts.
-- remedy: write the parts that the reward was made of
select episode_id, step, reward, reward_format, reward_task, reward_trace, reward_length
from {batch}
where abs(reward - reward_format - reward_task - reward_trace - coalesce(reward_length, 0)) > 1e-6
