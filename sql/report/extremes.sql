-- Of each task the queries that an arm ranks worst and best, with their candidates by final rank; `scores` are the model's where it
-- gives any, in the order of `labels`.
with chosen as (
    select e.batch_id, e.task, e.episode_id, e.set_id, e.rr, e.ranking,
           row_number() over (partition by e.task order by e.rr, e.set_id) as worst,
           row_number() over (partition by e.task order by e.rr desc, e.set_id) as best
    from episodes e
    where e.batch_id = $batch_id and e.arm = $arm and e.strategy = $strategy and e.thinking = $thinking
),
kept as (
    from chosen where least(worst, best) <= $most
),
sets as (
    select s.batch_id, s.set_id, s.task, s.query, s.query_items
    from candidate_sets s
    join stage_runs r on r.stage = 'evaluate' and r.batch_id = $batch_id and list_contains(r.inputs, s.batch_id)
    where s.set_id in (select set_id from kept)
),
histories as (
    select u.set_id, string_agg(coalesce(i.title, u.item_id), '; ' order by u.place) as titles
    from (select set_id, task, unnest(query_items) as item_id, generate_subscripts(query_items, 1) as place from sets) u
    left join (select task, item_id, any_value(title) as title from items group by task, item_id) i using (task, item_id)
    group by u.set_id
),
pools as (
    select c.set_id, list({'label': c.label, 'text': c.text, 'relevance': c.relevance} order by len(c.label), c.label) as candidates
    from candidates c
    join sets s on s.batch_id = c.batch_id and s.set_id = c.set_id
    group by c.set_id
),
first_calls as (
    select s.episode_id, s.pool as labels, s.log_likelihoods as scores
    from steps s
    where s.batch_id = $batch_id and s.log_likelihoods is not null and s.episode_id in (select episode_id from kept)
    qualify row_number() over (partition by s.episode_id order by s.step) = 1
)
select k.task, k.rr, k.ranking, k.worst, k.best, coalesce(nullif(s.query, ''), h.titles, '') as query, p.candidates, f.labels, f.scores
from kept k
join sets s on s.set_id = k.set_id
join pools p on p.set_id = k.set_id
left join histories h on h.set_id = k.set_id
left join first_calls f on f.episode_id = k.episode_id
order by k.task, k.worst
