-- What did RL change? Test queries that it ranks better, worse and the same as the SFT model it started from.
-- Paired on the query, per strategy. A mean hides whether few queries moved far or many a little.
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1),
paired as (
    select rl.task, rl.strategy, rl.thinking, rl.rr - sft.rr as gain
    from episodes rl
    join latest l on l.batch_id = rl.batch_id
    join episodes sft on sft.batch_id = rl.batch_id and sft.set_id = rl.set_id and sft.strategy = rl.strategy and sft.thinking = rl.thinking
    where rl.arm = 'rl' and sft.arm = 'sft'
)
select task, strategy, thinking, count(*) filter (where gain > 0) as better, count(*) filter (where gain < 0) as worse,
       count(*) filter (where gain = 0) as same, round(avg(gain), 4) as mean_gain, round(max(gain), 3) as best, round(min(gain), 3) as worst
from paired
group by task, strategy, thinking
order by task, strategy, thinking desc
