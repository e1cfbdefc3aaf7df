-- Is reasoning worth its tokens?
-- The same model, strategy and queries with and without it: gain in MRR beside the tokens that it costs per query.
with latest as (select batch_id, inputs from stage_runs where stage = 'evaluate' order by finished_at desc limit 1),
paired as (
    select t.task, t.arm, t.strategy, t.rr - n.rr as gain, t.prompt_tokens + t.completion_tokens - n.prompt_tokens - n.completion_tokens as tokens,
           t.invalid_calls / t.calls - n.invalid_calls / n.calls as malformed
    from episodes t
    join latest l on l.batch_id = t.batch_id
    join episodes n on n.batch_id = t.batch_id and n.set_id = t.set_id and n.strategy = t.strategy and n.arm = t.arm
    where t.thinking and not n.thinking
)
select task, arm, strategy, count(*) as queries, round(avg(gain), 4) as mrr_gain, round(avg(tokens), 1) as more_tokens, round(avg(malformed), 3) as more_malformed
from paired
group by task, arm, strategy
order by mrr_gain desc
