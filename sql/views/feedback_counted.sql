create or replace view feedback_counted as
select f.event_id, r.task, r.version, r.model, f.set_id, f.item_id, c.label, c.place, coalesce(list_position(o.shown, c.label), c.place) as position,
       f.event, f.value, f.happened_at, r.served_at, (r.served_at at time zone 'UTC')::date as day, f.user_id
from feedback f
join served_requests r on r.set_id = f.set_id and f.happened_at >= r.served_at - interval 5 minutes
join served_candidates c on c.batch_id = r.batch_id and c.set_id = r.set_id and c.item_id = f.item_id
left join served_orders o on o.batch_id = r.batch_id and o.set_id = r.set_id
where o.set_id is null or list_contains(o.shown, c.label);
comment on view feedback_counted is 'Feedback whose request and document are in the lake and were shown. place: that of the document by the ranking; position: as shown (both 1-based). day: on which the request was served (UTC).';
