-- Tasks without the random row: nothing says what chance is.
-- remedy: evaluate the random baseline on every task
select distinct e.task
from {batch} e
anti join (select task from {batch} where arm = 'random' and metric = 'RR') chance on chance.task = e.task
