-- What every model of one evaluation (or trace transfer) got on every test query: the columns that `ranker.stages.evaluate.score` reads.
select set_id, task, model, arm, strategy, thinking, calls, invalid_calls, prompt_tokens, completion_tokens, rr, ndcg_5, ndcg_10, hit_1, hit_3
from episodes
where batch_id = $batch_id
order by task, set_id, arm, strategy, thinking
