-- Positives that the user never touched. Recommendation only.
-- remedy: take positives from the user's own interactions
with touched as (
    select distinct task, user_id, item_id from interactions where batch_id in (select key from inputs_of_batch)
)
select c.set_id, s.task, s.group_id as user_id, c.item_id
from {batch} c
join staged_candidate_sets s on s.set_id = c.set_id
semi join (select distinct task from touched) t on t.task = s.task
anti join touched n on n.task = s.task and n.user_id = s.group_id and n.item_id = c.item_id
where c.relevance > 0
