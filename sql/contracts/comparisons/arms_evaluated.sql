-- Comparisons of an arm that has no row in this evaluation.
-- remedy: compare what was evaluated
select c.task, c.arm, c.against
from {batch} c
anti join staged_evaluations a on a.task = c.task and a.arm = c.arm
union all
select c.task, c.arm, c.against
from {batch} c
anti join staged_evaluations a on a.task = c.task and a.arm = c.against
