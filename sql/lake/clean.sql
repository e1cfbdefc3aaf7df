-- Delete the files that were put down for deletion at least $hours hours ago.
select path from ducklake_cleanup_old_files('lake', older_than => now() - to_microseconds(($hours * 3600000000)::bigint))
