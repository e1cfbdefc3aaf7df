-- Episodes on a set that the inputs lack, or of the wrong split: evaluation, trace transfer and the study of thinking are on test, validation on valid, a replay on any, everything else on train (what is served has no set: served_requests/one_episode).
-- remedy: rank sets of the stage's own inputs
select e.episode_id, e.stage, e.set_id, e.task, s.split
from {batch} e
left join (select set_id, task, split from candidate_sets where batch_id in (select key from inputs_of_batch)) s on s.set_id = e.set_id and s.task = e.task
where e.stage <> 'serve'
  and (s.split is null or e.stage <> 'replay' and s.split <> case e.stage when 'evaluate' then 'test' when 'transfer' then 'test' when 'thinking' then 'test' when 'validate' then 'valid' else 'train' end)
