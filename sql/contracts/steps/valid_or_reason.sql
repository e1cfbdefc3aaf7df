-- Steps that are valid and have a reason against them, or are invalid without one.
-- remedy: a reason is written exactly where an answer is invalid
select episode_id, step, valid, reason from {batch} where valid <> (reason = '')
