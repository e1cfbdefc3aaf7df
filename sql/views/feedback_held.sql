create or replace view feedback_held as
select f.*, case when r.set_id is null then 'no such request' when c.item_id is null then 'no such document'
                 when f.happened_at < r.served_at - interval 5 minutes then 'before its request' else 'not shown' end as reason
from feedback f
left join served_requests r on r.set_id = f.set_id
left join served_candidates c on c.batch_id = r.batch_id and c.set_id = r.set_id and c.item_id = f.item_id
left join served_orders o on o.batch_id = r.batch_id and o.set_id = r.set_id
where c.item_id is null or f.happened_at < r.served_at - interval 5 minutes or not coalesce(list_contains(o.shown, c.label), true);
comment on view feedback_held is 'Feedback that counts for nothing so far, and why: its request or document is not in the lake, it happened more than five minutes before its request came, or the document was not shown (top_n, min_score).';
