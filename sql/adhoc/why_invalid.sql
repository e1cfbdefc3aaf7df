-- Why are answers invalid, and which policy gives which kind of bad answer?
-- A share is of that policy's answers on that task; valid answers have no row.
select task, arm, strategy, thinking, reason, answers, round(share, 3) as share
from malformed
where stage = 'evaluate' and reason <> ''
order by share desc, answers desc, task, arm
