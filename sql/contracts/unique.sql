-- Groups of rows that agree in {columns}.
-- remedy: drop the repeated rows
select {columns}, count(*) as times
from {batch}
group by {columns}
having count(*) > 1
