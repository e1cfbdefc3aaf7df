-- Forget snapshots; files that no other one needs are put down for deletion.
select snapshot_id as snapshot from ducklake_expire_snapshots('lake', versions => $snapshots::bigint[])
