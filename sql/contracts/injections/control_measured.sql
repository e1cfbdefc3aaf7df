-- Attacks whose control was not measured in the same way.
-- remedy: rank the pools with the harmless sentence in the same place
select i.model, i.task, i.strategy, i.thinking, i.text, i.control
from {batch} i
anti join {batch} c on c.model = i.model and c.task = i.task and c.strategy = i.strategy and c.thinking = i.thinking and c.text = i.control
where i.control is not null
