"""Pages and where they live: rows, shards, archives, storage."""
