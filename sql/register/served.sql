-- What the policy and the champion got on each test query, by one strategy and thinking. A value that is no number is none.
select s.task, s.query_id, s.group_id, e.arm, e.model,
       case when isfinite(e.rr) then e.rr end as rr,
       e.invalid_calls / e.calls as malformed, e.calls, e.prompt_tokens + e.completion_tokens as tokens
from episodes e
join candidate_sets s on s.set_id = e.set_id and s.batch_id = $sets and s.split = 'test'
where e.batch_id = $batch_id and e.arm in ('rl', 'champion') and e.strategy = $strategy and e.thinking = $thinking
order by s.task, s.query_id, e.arm
