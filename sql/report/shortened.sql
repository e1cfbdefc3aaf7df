-- By task the calls of one evaluation's models, and those of whose texts the model did not get every word.
select task, sum(calls) as prompts, sum(shortened_calls) as shortened
from episodes
where batch_id = $batch_id and shortened_calls is not null
group by task
order by task
