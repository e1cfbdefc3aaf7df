-- Requests on $task whose first places could have been shuffled, with what was shown and clicked there, of days that passed: those of the commonest depth.
-- What was logged without its texts is left out: no other model can rank it. grouped: the user of the request or its feedback, else the request; ranked: the documents shown, in the order of the ranking.
with requests as (
    select r.batch_id, r.set_id, r.user_id, r.task, r.query, r.query_items, r.served_at, o.shown, o.share, o.depth
    from served_requests r
    join served_orders o on o.batch_id = r.batch_id and o.set_id = r.set_id
    join feedback_days d on d.task = r.task and d.day = (r.served_at at time zone 'UTC')::date and d.verdict = 'passed'
    where r.task = $task and o.share > 0 and o.depth > 1 and r.query <> '[dropped]' and not starts_with(r.query, 'hashed:')
),
known as (
    select set_id, coalesce(any_value(user_id), set_id) as grouped, list(distinct label) filter (event = 'click') as clicked
    from feedback_counted
    where task = $task
    group by set_id
),
pools as (
    select c.batch_id, c.set_id, list({label: c.label, item_id: c.item_id, text: c.text} order by c.slot) as candidates, list(c.label order by c.place) as ranking
    from served_candidates c
    semi join requests r on r.batch_id = c.batch_id and r.set_id = c.set_id
    group by c.batch_id, c.set_id
)
select r.set_id, r.query, r.query_items, coalesce(r.user_id, k.grouped, r.set_id) as grouped, coalesce(k.clicked, []) as clicked, r.share, r.depth, r.shown,
       list_filter(p.ranking, lambda label: list_contains(r.shown, label)) as ranked, p.candidates
from requests r
join pools p on p.batch_id = r.batch_id and p.set_id = r.set_id
left join known k on k.set_id = r.set_id
where r.depth = (select mode(depth) from requests)
order by r.served_at, r.set_id
