-- Traces that are accepted and have a reason against them, or are rejected without one.
-- remedy: a reason is written exactly where a trace is rejected
select trace_id, accepted, reason from {batch} where accepted <> (reason = '')
