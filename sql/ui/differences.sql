-- One evaluation's queries as two ways rank them, the largest difference first.
select a.set_id, s.query, coalesce(s.query_items, []) as query_items, a.rr as rr_one, b.rr as rr_other, b.rr - a.rr as difference,
       a.episode_id as one, b.episode_id as other
from episodes a
join episodes b on b.batch_id = a.batch_id and b.set_id = a.set_id and b.task = a.task
left join candidate_sets s on s.set_id = a.set_id and s.batch_id = $candidates
where a.batch_id = $batch_id and a.task = $task
  and a.arm = $arm and a.strategy = $strategy and a.thinking = $thinking
  and b.arm = $other_arm and b.strategy = $other_strategy and b.thinking = $other_thinking
order by abs(b.rr - a.rr) desc, a.set_id
limit $most
