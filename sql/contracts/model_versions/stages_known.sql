-- Versions that name a training or an evaluation that the lake does not have.
-- remedy: register what train and evaluate have written
select version, train_key, evaluate_key
from {batch}
where train_key not in (select batch_id from stage_runs where stage = 'train')
   or evaluate_key not in (select batch_id from stage_runs where stage = 'evaluate')
