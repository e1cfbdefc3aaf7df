-- Queries of a task that no source was read for.
-- remedy: write a task's rows and its row in sources together
select q.task, q.query_id
from {batch} q
anti join staged_sources s on s.task = q.task
