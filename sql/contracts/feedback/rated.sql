-- Ratings without a finite value, and values of what is no rating.
-- remedy: refuse such an event, as ranker/serving/feedback.py does
select event_id, set_id, item_id, event, value
from {batch}
where case when event = 'rating' then value is null or not isfinite(value) else value is not null end
