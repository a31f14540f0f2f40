"""A worker of a cluster: owns virtual shards, each a whole core whose source is the log and whose store is a slice."""
