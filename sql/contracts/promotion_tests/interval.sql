-- Differences outside their interval, or one of the three without the others.
-- remedy: look at the bootstrap
select task, difference, lower, upper
from {batch}
where (difference is null) <> (lower is null) or (difference is null) <> (upper is null)
   or not isfinite(difference) or not difference between lower - 1e-9 and upper + 1e-9
