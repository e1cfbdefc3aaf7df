-- Candidates that are no item of the inputs.
-- remedy: draw candidates from what ingest has read
select c.set_id, s.task, c.item_id
from {batch} c
join staged_candidate_sets s on s.set_id = c.set_id
anti join (select task, item_id from items where batch_id in (select key from inputs_of_batch)) i on i.task = s.task and i.item_id = c.item_id
