-- What became of the answers of each model version?
-- Share of its requests with a click and with a purchase, mean place of the clicks (by the model's ranking; who is shown first is clicked more, so it compares no two rankings), mean rating.
with served as (
    select set_id, task, version from served_requests
),
became as (
    select set_id, max((event = 'click')::integer) as clicked, max((event = 'purchase')::integer) as bought, avg(value) as rating,
           avg(place) filter (event = 'click') as place
    from feedback_counted
    group by set_id
)
select s.task, s.version, count(*) as requests, round(avg(coalesce(b.clicked, 0)), 4) as clicked, round(avg(coalesce(b.bought, 0)), 4) as bought,
       round(avg(b.place), 2) as place_of_clicks, round(avg(b.rating), 2) as rating
from served s
left join became b on b.set_id = s.set_id
group by s.task, s.version
order by s.task, s.version
