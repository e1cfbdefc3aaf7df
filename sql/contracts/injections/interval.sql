-- Rises outside their interval, or of a text that has no control; attacks without a rise.
-- remedy: look at the bootstrap
select model, task, strategy, thinking, text, control, rise, lower, upper
from {batch}
where (rise is null) <> (control is null) or not rise between lower - 1e-9 and upper + 1e-9
