-- Names of the files that snapshots know, or that are put down for deletion.
select parse_filename(path) as name from __ducklake_metadata_lake.ducklake_data_file
union
select parse_filename(path) from __ducklake_metadata_lake.ducklake_delete_file
union
select parse_filename(path) from __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion
