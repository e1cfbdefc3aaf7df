-- Trainings whose rollouts are in the lake, hours since they ended, and how many there are.
select r.batch_id as key, date_diff('second', r.finished_at, now()) / 3600.0 as hours, count(*) as rollouts
from stage_runs r
join episodes e using (batch_id)
where r.stage = 'train'
group by all
order by hours desc
