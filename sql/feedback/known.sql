-- Events among $ids that an earlier batch has.
select event_id from feedback where list_contains($ids::varchar[], event_id)
