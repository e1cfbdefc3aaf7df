-- Episodes whose id begins with $episode, with the candidate sets that their stage run read; the latest run first.
select e.*, i.batch_id as sets
from episodes e
join stage_runs r on r.stage = e.stage and r.batch_id = e.batch_id
join stage_runs i on i.stage = 'candidates' and list_contains(r.inputs, i.batch_id)
where starts_with(e.episode_id, $episode)
order by r.finished_at desc
