-- Where do tokens and time go?
-- Model calls of every stage; milliseconds are a batch's wall time divided by its size.
select stage, task, arm, strategy, count(*) as episodes, sum(calls) as calls, sum(prompt_tokens) as prompt_tokens, sum(completion_tokens) as completion_tokens,
       round(sum(milliseconds) / 1000, 1) as seconds
from episodes
group by stage, task, arm, strategy
order by seconds desc, calls desc
