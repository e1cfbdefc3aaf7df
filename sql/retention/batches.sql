-- Finished runs of the stages whose rows may go, oldest first, and hours since. Needed are those that a kept version rests on ($keys), the newest
-- of each stage, those of the last $young hours, and all that these were made from.
with recursive runs as (
    select stage, batch_id, inputs, date_diff('second', finished_at, now()) / 3600.0 as hours, forgotten_at,
           row_number() over (partition by stage order by finished_at desc, batch_id) = 1 as newest
    from stage_runs
    where stage in ('ingest', 'candidates', 'distill', 'train', 'evaluate')
),
needed as (
    select batch_id, inputs from runs where newest or hours < $young or list_contains($keys::varchar[], batch_id)
    union
    select r.batch_id, r.inputs from runs r join needed n on list_contains(n.inputs, r.batch_id)
)
select stage, batch_id as key, hours, batch_id in (select batch_id from needed) as needed
from runs
where stage <> 'train' and forgotten_at is null
order by hours desc, key
