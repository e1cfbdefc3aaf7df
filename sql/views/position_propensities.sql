-- From shuffled answers alone: there every place has documents that are as relevant, so that places are clicked as they are looked at.
create or replace view position_propensities as
with drawn as (
    select r.task, o.depth, o.set_id, unnest(range(1, o.depth + 1)) as position
    from served_orders o
    join served_requests r on r.batch_id = o.batch_id and r.set_id = o.set_id
    join feedback_days d on d.task = r.task and d.day = (r.served_at at time zone 'UTC')::date and d.verdict = 'passed'
    where o.drawn and o.depth > 1
),
clicks as (
    select distinct set_id, position from feedback_counted where event = 'click'
),
rates as (
    select d.task, d.depth, d.position, count(*) as shown, count(c.set_id) as clicks, count(c.set_id) / count(*) as rate
    from drawn d
    left join clicks c on c.set_id = d.set_id and c.position = d.position
    group by d.task, d.depth, d.position
)
select *, rate / nullif(first_value(rate) over (partition by task, depth order by position), 0) as propensity
from rates
order by task, depth, position;
comment on view position_propensities is 'How much more seldom a position is looked at than the first (propensity, 1 for the first), from answers whose first `depth` places were shuffled, on days that passed: the ratio of their click rates (Joachims, Swaminathan and Schnabel 2017, arXiv 1608.04468). Null before the first was clicked.';
