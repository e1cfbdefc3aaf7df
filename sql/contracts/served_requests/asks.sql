-- Requests that ask for nothing: no query and no history.
-- remedy: refuse such a request instead of ranking it
select set_id, task from {batch} where trim(query) = '' and len(query_items) = 0
