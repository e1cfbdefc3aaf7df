-- Tasks with neither interactions nor judged queries: nothing to learn from.
-- remedy: give interactions, or queries with judgements
select s.task, s.reader, s.location
from {batch} s
anti join staged_interactions n on n.task = s.task
anti join (select q.task from staged_queries q semi join staged_qrels r on r.task = q.task and r.query_id = q.query_id) judged on judged.task = s.task
