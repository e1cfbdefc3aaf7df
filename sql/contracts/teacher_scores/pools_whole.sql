-- Sets of the inputs of which some candidates have a teacher's score and some have not.
-- remedy: score whole pools
with pools as (
    select set_id, count(*) as candidates from candidates where batch_id in (select key from inputs_of_batch) group by set_id
),
scored as (
    select set_id, teacher, count(*) as scores from {batch} b group by set_id, teacher
)
select s.set_id, s.teacher, s.scores, p.candidates
from scored s
join pools p on p.set_id = s.set_id
where s.scores <> p.candidates
