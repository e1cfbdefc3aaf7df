-- What is usual is the median of up to seven days before, held ones among them: a lasting change is usual after four days.
create or replace view feedback_days as
with requests as (
    select task, (served_at at time zone 'UTC')::date as day, count(*) as requests
    from served_requests
    group by all
),
clicks as (
    select task, day, user_id, count(distinct (set_id, item_id)) as clicks, sum(position) as positions, count(*) as events
    from feedback_counted
    where event = 'click'
    group by task, day, user_id
),
days as (
    select r.task, r.day, r.requests, coalesce(sum(c.clicks), 0)::bigint as clicks, coalesce(sum(c.clicks), 0) / r.requests as rate,
           sum(c.positions) / sum(c.events) as position, coalesce(max(c.clicks) filter (c.user_id is not null) / sum(c.clicks), 0) as one_user
    from requests r
    left join clicks c on c.task = r.task and c.day = r.day
    group by r.task, r.day, r.requests
),
usual as (
    select *, median(rate) over before as usual_rate, median(position) over before as usual_position
    from days
    window before as (partition by task order by day rows between 7 preceding and 1 preceding)
)
select task, day, requests, clicks, rate, usual_rate, position, usual_position, one_user,
       case when day >= (now() at time zone 'UTC')::date then 'open'
            when clicks >= 50 and one_user > 0.2 then 'one user'
            when abs(rate - usual_rate) > 4 * sqrt(usual_rate / requests) and (rate > 2 * usual_rate or rate < usual_rate / 2) then 'click rate'
            when clicks >= 50 and (position > 1.5 * usual_position or position < usual_position / 1.5) then 'positions'
            else 'passed' end as verdict
from usual
order by task, day;
comment on view feedback_days is 'The feedback of each day (UTC) on which its requests were served, and whether it counts (verdict passed): not while the day lasts (open), nor where one user has more than a fifth of its clicks (one user), where its clicks a request are half or twice what they usually are and more than four standard errors off (click rate), or where the mean position clicked is 1.5 times another (positions). Usual: the median of the seven days before.';
