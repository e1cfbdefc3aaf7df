-- One way's rankings by the collection's own ids: query, document, and its place from 1. An evaluation reads the candidate sets among its inputs.
with ranked as (
    select e.set_id, unnest(e.ranking) as label, generate_subscripts(e.ranking, 1) as place
    from episodes e
    where e.batch_id = $batch_id and e.task = $task and e.arm = $arm and e.strategy = $strategy and e.thinking = $thinking
), inputs as (
    select unnest(inputs) as batch_id from stage_runs where batch_id = $batch_id
)
select s.query_id, c.item_id, r.place
from ranked r
join candidate_sets s on s.set_id = r.set_id and s.batch_id in (select batch_id from inputs)
join candidates c on c.batch_id = s.batch_id and c.set_id = r.set_id and c.label = r.label
order by s.query_id, r.place
