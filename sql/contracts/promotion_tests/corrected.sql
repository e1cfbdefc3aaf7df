-- Tests without their corrected p-value, or with one that is smaller than the plain one.
-- remedy: correct the p-values of one verdict together
select task, p, p_holm
from {batch}
where (p is null) <> (p_holm is null) or p_holm < p
