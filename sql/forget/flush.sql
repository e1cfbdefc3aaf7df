-- Rows that the catalog itself holds, as small writes are, into files, which can be written anew.
from ducklake_flush_inlined_data('lake')
