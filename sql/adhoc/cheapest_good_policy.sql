-- What is the cheapest policy within 0.02 MRR of the best?
-- Cost is tokens per query, prompt and completion together.
select task, arm, strategy, thinking, round(mrr, 3) as mrr, round(tokens, 1) as tokens, round(milliseconds, 1) as milliseconds
from cost_quality
where batch_id = (select batch_id from stage_runs where stage = 'evaluate' order by finished_at desc limit 1)
qualify mrr >= max(mrr) over (partition by task) - 0.02
order by task, tokens
