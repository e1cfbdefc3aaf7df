-- Files that no snapshot needs, at once.
select path from ducklake_cleanup_old_files('lake', cleanup_all => true)
