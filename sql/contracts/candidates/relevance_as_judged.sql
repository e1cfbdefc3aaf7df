-- Candidates whose relevance is not what the inputs judge: a judged item shown as irrelevant is a false negative. Tasks with judgements only.
-- remedy: take relevance from qrels, 0 where there is none
with judged as (
    select task, query_id, item_id, relevance from qrels where batch_id in (select key from inputs_of_batch)
)
select c.set_id, s.task, s.query_id, c.item_id, c.relevance, coalesce(j.relevance, 0) as judged
from {batch} c
join staged_candidate_sets s on s.set_id = c.set_id
semi join (select distinct task from judged) t on t.task = s.task
left join judged j on j.task = s.task and j.query_id = s.query_id and j.item_id = c.item_id
where c.relevance <> coalesce(j.relevance, 0)
