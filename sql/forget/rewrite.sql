-- Files that hold deleted rows, written anew without them.
from ducklake_rewrite_data_files('lake', delete_threshold => 0)
