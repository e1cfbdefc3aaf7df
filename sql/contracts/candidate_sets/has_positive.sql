-- Sets without a relevant candidate: no ranking of them is better than another.
-- remedy: drop queries that have no positive among their candidates
select s.set_id, s.task, s.query_id
from {batch} s
anti join (select set_id from staged_candidates where relevance > 0) positive on positive.set_id = s.set_id
