-- Tasks that were read and gave no items.
-- remedy: look at the file named in `location`: is it the one that lists what is ranked?
select s.task, s.reader, s.location
from {batch} s
anti join staged_items i on i.task = s.task
