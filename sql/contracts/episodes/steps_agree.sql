-- Episodes whose calls are not the steps that were written.
-- remedy: write an episode and its steps together
select e.episode_id, e.calls, e.invalid_calls, e.shortened_calls, count(s.episode_id) as steps, count(*) filter (where not s.valid) as invalid_steps,
       count(*) filter (where s.shortened > 0) as shortened_steps
from {batch} e
left join staged_steps s on s.episode_id = e.episode_id
group by e.episode_id, e.calls, e.invalid_calls, e.shortened_calls
having count(s.episode_id) <> e.calls or count(*) filter (where not s.valid) <> e.invalid_calls
    or count(*) filter (where s.shortened > 0) <> e.shortened_calls
