-- Whose documents are clicked more where two models' rankings are interleaved?
-- A request is won by the model of which more documents are clicked. won_share: the challenger's (shadow) among the requests that one of the two won, with its 95% interval (Wilson 1927); a preference is there where it does not hold 0.5. Only days that passed.
with requests as (
    select r.task, r.version, s.version as shadow, o.set_id, o.shown, o.teams
    from served_orders o
    join served_requests r on r.batch_id = o.batch_id and r.set_id = o.set_id
    join served_shadows s on s.set_id = o.set_id
    join feedback_days d on d.task = r.task and d.day = (r.served_at at time zone 'UTC')::date and d.verdict = 'passed'
    where o.teams is not null
),
clicks as (
    select distinct set_id, label from feedback_counted where event = 'click'
),
each as (
    select r.task, r.version, r.shadow, r.set_id, count(c.label) filter (r.teams[list_position(r.shown, c.label)] = 'shadow') as theirs,
           count(c.label) filter (r.teams[list_position(r.shown, c.label)] = 'served') as ours
    from requests r
    left join clicks c on c.set_id = r.set_id
    group by all
),
counted as (
    select task, version, shadow, count(*) as requests, sum(ours)::bigint as clicks, sum(theirs)::bigint as shadow_clicks,
           count(*) filter (theirs > ours) as won, count(*) filter (theirs < ours) as lost, won + lost as n, won / nullif(n, 0) as share
    from each
    group by task, version, shadow
)
select task, version, shadow, requests, clicks, shadow_clicks, won, lost, round(share, 4) as won_share,
       round((share + 1.9208 / n - 1.96 * sqrt(share * (1 - share) / n + 0.9604 / n / n)) / (1 + 3.8416 / n), 4) as lower,
       round((share + 1.9208 / n + 1.96 * sqrt(share * (1 - share) / n + 0.9604 / n / n)) / (1 + 3.8416 / n), 4) as upper
from counted
order by task, version, shadow
