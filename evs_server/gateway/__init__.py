"""A door to a cluster of shards: takes events into the log, and answers from what shards tell. Any number of them."""
