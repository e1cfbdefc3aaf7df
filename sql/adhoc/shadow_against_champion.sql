-- Would the shadow answer as the model that serves?
-- Over the requests that both have ranked: share with the same first document, share of the first ten that both have there, Kendall's tau of the orders (1 the same, 0 unrelated, -1 reversed); then unreadable answers, calls' time and tokens of each.
-- What was answered was ranked together with other requests, whose time it shares; the shadow ranks one at a time.
with pairs as (
    select e.task, e.set_id, r.version, s.version as shadow, e.ranking, o.ranking as other,
           e.invalid_calls, e.calls, e.milliseconds, e.prompt_tokens + e.completion_tokens as tokens,
           o.invalid_calls as other_invalid, o.calls as other_calls, o.milliseconds as other_milliseconds, o.prompt_tokens + o.completion_tokens as other_tokens
    from served_shadows s
    join episodes o on o.batch_id = s.batch_id and o.set_id = s.set_id and o.arm = 'shadow'
    join served_requests r on r.set_id = s.set_id
    join episodes e on e.batch_id = r.batch_id and e.set_id = r.set_id and e.arm = 'served'
),
places as (
    select set_id, generate_subscripts(ranking, 1) as place, list_position(other, unnest(ranking)) as other_place
    from pairs
),
orders as (
    select a.set_id, avg(sign(b.other_place - a.other_place)) as tau
    from places a
    join places b on b.set_id = a.set_id and b.place > a.place
    group by a.set_id
)
select p.task, p.version, p.shadow, count(*) as requests, round(avg((p.ranking[1] = p.other[1])::integer), 3) as same_first,
       round(avg(len(list_intersect(p.ranking[:10], p.other[:10])) / least(10, len(p.ranking))), 3) as shared_10, round(avg(o.tau), 3) as tau,
       round(sum(p.invalid_calls) / sum(p.calls), 3) as invalid, round(sum(p.other_invalid) / sum(p.other_calls), 3) as shadow_invalid,
       round(avg(p.milliseconds), 1) as ms, round(avg(p.other_milliseconds), 1) as shadow_ms, round(avg(p.tokens), 1) as tokens, round(avg(p.other_tokens), 1) as shadow_tokens
from pairs p
join orders o on o.set_id = p.set_id
group by p.task, p.version, p.shadow
order by p.task, requests desc, p.version, p.shadow
