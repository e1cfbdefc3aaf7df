create or replace view relevance_of_clicks as
with shown as (
    select r.task, r.query, r.query_items, r.set_id, o.depth, unnest(o.shown[:o.depth]) as label, unnest(range(1, o.depth + 1)) as position, r.batch_id
    from served_orders o
    join served_requests r on r.batch_id = o.batch_id and r.set_id = o.set_id
    join feedback_days d on d.task = r.task and d.day = (r.served_at at time zone 'UTC')::date and d.verdict = 'passed'
    where r.query <> '[dropped]'
),
clicks as (
    select distinct set_id, label from feedback_counted where event = 'click'
)
select s.task, s.query, s.query_items, c.item_id, any_value(c.text) as text, count(*) as shown, count(k.set_id) as clicks,
       count(k.set_id) / count(*) as click_rate, avg(case when k.set_id is null then 0 else 1 / greatest(p.propensity, 0.1) end) as relevance
from shown s
join served_candidates c on c.batch_id = s.batch_id and c.set_id = s.set_id and c.label = s.label
join position_propensities p on p.task = s.task and p.depth = s.depth and p.position = s.position and p.propensity is not null
left join clicks k on k.set_id = s.set_id and k.label = s.label
group by s.task, s.query, s.query_items, c.item_id;
comment on view relevance_of_clicks is 'Clicks as relevance, by query and document, of days that passed: each click counts 1 / max(propensity, 0.1) of its position, over the times that the document was shown (Joachims, Swaminathan and Schnabel 2017). relevance is in proportion to the chance that who looks at it clicks; click_rate is the same without the correction.';
