-- Rows that came into and went out of one table after snapshot $first, up to and with $last, by the batch they belong to.
-- It starts at $first and not one later: that one is known to exist, the next may have expired.
select $table as "table", batch_id,
       count(*) filter (where change_type in ('insert', 'update_postimage')) as inserted,
       count(*) filter (where change_type in ('delete', 'update_preimage')) as deleted
from ducklake_table_changes('lake', 'main', $table, $first, $last)
where snapshot_id > $first
group by batch_id
order by batch_id
