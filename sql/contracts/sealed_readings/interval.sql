-- Means or differences outside their interval, or a difference without the version that it is to.
-- remedy: look at the bootstrap
select task, against, rr, lower, upper, difference, difference_lower, difference_upper
from {batch}
where not rr between lower - 1e-9 and upper + 1e-9 or (difference is null) <> (against is null)
   or not difference between difference_lower - 1e-9 and difference_upper + 1e-9
