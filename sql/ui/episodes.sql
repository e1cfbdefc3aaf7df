-- One evaluation's episodes of one way of ranking a task, worst first; null takes any outcome and text.
-- `gold` is the rank of the first relevant candidate.
select e.episode_id, e.set_id, s.query, coalesce(s.query_items, []) as query_items, e.rr, round(1 / nullif(e.rr, 0))::integer as gold, len(e.pool) as candidates,
       e.calls, e.invalid_calls, e.prompt_tokens + e.completion_tokens as tokens
from episodes e
left join candidate_sets s on s.set_id = e.set_id and s.batch_id = $candidates
where e.batch_id = $batch_id and e.task = $task and e.arm = $arm and e.strategy = $strategy and e.thinking = $thinking
  and ($outcome is null
       or ($outcome = 'gold first' and e.rr = 1)
       or ($outcome = 'gold not first' and e.rr < 1)
       or ($outcome = 'an invalid answer' and e.invalid_calls > 0))
  and ($text is null
       or contains(lower(s.query), lower($text))
       or e.set_id in (select c.set_id from candidates c where c.batch_id = $candidates and contains(lower(c.text), lower($text))))
order by e.rr, e.episode_id
limit $most
