-- Candidates of a set that is not in this batch.
-- remedy: write sets and candidates together
select c.set_id, c.label, c.item_id
from {batch} c
anti join staged_candidate_sets s on s.set_id = c.set_id
