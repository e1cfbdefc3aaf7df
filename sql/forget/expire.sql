-- Every snapshot but the current one.
select snapshot_id from ducklake_expire_snapshots('lake', older_than => now())
