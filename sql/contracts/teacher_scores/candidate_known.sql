-- Scores of a candidate that no set of the inputs has.
-- remedy: score candidates of the sets that this stage read
select t.set_id, t.label, t.teacher
from {batch} t
anti join (select set_id, label from candidates where batch_id in (select key from inputs_of_batch)) c on c.set_id = t.set_id and c.label = t.label
