-- Events that happened more than five minutes after they were sent.
-- remedy: refuse such an event, as ranker/serving/feedback.py does
select event_id, set_id, item_id, happened_at, received_at from {batch} where happened_at > received_at + interval 5 minutes
