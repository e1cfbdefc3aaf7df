-- Files that no snapshot has ever known and that are at least $hours hours old: what killed writers left. $dry: say them, and delete none.
select path from ducklake_delete_orphaned_files('lake', older_than => now() - to_microseconds(($hours * 3600000000)::bigint), dry_run => $dry)
