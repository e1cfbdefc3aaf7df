-- One evaluation's ways of ranking, by task, best first; intervals are 95%.
select task, arm, strategy, thinking, any_value(model) as model,
       max(value) filter (where metric = 'RR') as mrr,
       max(lower) filter (where metric = 'RR') as mrr_lower,
       max(upper) filter (where metric = 'RR') as mrr_upper,
       max(value) filter (where metric = 'nDCG@10') as ndcg_10,
       max(value) filter (where metric = 'Hit@1') as hit_1,
       max(value) filter (where metric = 'malformed') as malformed,
       sum(value) filter (where metric in ('prompt_tokens', 'completion_tokens')) as tokens,
       max(queries) as queries
from evaluations
where batch_id = $batch_id
group by task, arm, strategy, thinking
order by task, mrr desc, arm, strategy, thinking
