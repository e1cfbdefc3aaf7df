-- Steps with a part of the reward out of its range: format 0 or -1; task between -1 and 1, for a whole order between -2 (what it leaves unnamed costs up to 1 more) and 1; trace between -1 and 1; length between -1 and 0.
-- remedy: rewards are chance-corrected; look at ranker/policy/rewards.py
select episode_id, step, mode, reward_format, reward_task, reward_trace, reward_length
from {batch}
where reward_format not in (0, -1)
   or not reward_task between case mode when 'rank' then -2 else -1 end - 1e-9 and 1 + 1e-9
   or not reward_trace between -1 - 1e-9 and 1 + 1e-9
   or not coalesce(reward_length, 0) between -1 - 1e-9 and 1e-9
