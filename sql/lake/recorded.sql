-- Snapshots that somebody may want to read again, and why: a stage run names the one it read and the one it wrote, a model
-- version those of its training and its evaluation. $keys: the stage runs that count; null for all.
with runs as (
    select stage, batch_id, read_snapshot, snapshot_id as written_snapshot from stage_runs
    where $keys is null or list_contains($keys::varchar[], batch_id)
),
uses as (
    select read_snapshot as snapshot, stage || ' ' || batch_id || ' read it' as use from runs
    union all
    select written_snapshot, stage || ' ' || batch_id || ' wrote it' from runs
    union all
    select r.written_snapshot, m.name || ' version ' || m.version || ' rests on it'
    from model_versions m
    join runs r on r.batch_id in (m.train_key, m.evaluate_key)
)
select snapshot, string_agg(distinct use, ', ' order by use) as recorded from uses group by snapshot
