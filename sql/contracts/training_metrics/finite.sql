-- Losses or rewards that are not finite: training diverged.
-- remedy: lower the learning rate, or look at the last finite step
select phase, step, name, value
from {batch}
where name in ('loss', 'train_loss', 'reward') and not isfinite(value)
