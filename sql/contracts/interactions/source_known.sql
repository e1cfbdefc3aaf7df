-- Interactions of a task that no source was read for.
-- remedy: write a task's rows and its row in sources together
select n.task, n.user_id, n.item_id
from {batch} n
anti join staged_sources s on s.task = n.task
