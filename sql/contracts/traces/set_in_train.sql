-- Traces of a set that is no training set of the inputs: the test would be learned by heart.
-- remedy: distil from training sets only
select t.trace_id, t.set_id, t.task
from {batch} t
anti join (select set_id, task from candidate_sets where split = 'train' and batch_id in (select key from inputs_of_batch)) s on s.set_id = t.set_id and s.task = t.task
