-- Items of a task that no source was read for.
-- remedy: write a task's rows and its row in sources together
select i.task, i.item_id
from {batch} i
anti join staged_sources s on s.task = i.task
