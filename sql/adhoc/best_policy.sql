-- Which policy ranks best on each task, and is it clearly above chance?
-- The first row of the leaderboard per task, baselines apart; vs_random reads the whole interval, not the mean.
select task, arm, strategy, thinking, round(mrr, 3) as mrr, round(mrr_lower, 3) as lower, round(mrr_upper, 3) as upper, vs_random, queries
from leaderboard
where strategy <> 'baseline'
qualify row_number() over (partition by task order by mrr desc, tokens) = 1
order by task
