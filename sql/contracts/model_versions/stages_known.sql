-- Versions that name a training or an evaluation that the lake does not have.
-- remedy: register what train and evaluate have written
select v.version, v.train_key, v.evaluate_key
from {batch} v
where v.train_key not in (select batch_id from stage_runs where stage = 'train')
   or v.evaluate_key not in (select batch_id from stage_runs where stage = 'evaluate')
