-- Do longer answers rank better?
-- Training rollouts in four equal parts by length: reward and share of invalid answers of each.
with parts as (
    select task, strategy, ntile(4) over (partition by task, strategy order by completion_tokens / calls) as part, completion_tokens / calls as length, reward, invalid_calls / calls as malformed
    from episodes
    where stage = 'train'
)
select task, strategy, part, min(length) as shortest, max(length) as longest, count(*) as episodes, round(avg(reward), 4) as reward, round(avg(malformed), 3) as malformed
from parts
group by task, strategy, part
order by task, strategy, part
