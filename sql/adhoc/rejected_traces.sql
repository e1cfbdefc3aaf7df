-- Which of the teacher's traces were thrown away, and why?
-- They stay in the table with the reason; only accepted ones were trained on.
select task, teacher, mode, thinking, case when accepted then 'accepted' else reason end as fate, count(*) as traces,
       round(count(*) / sum(count(*)) over (partition by task, teacher, mode, thinking), 3) as share
from traces
group by task, teacher, mode, thinking, fate
order by task, mode, thinking, traces desc
