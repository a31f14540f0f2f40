"""What gateways and shards agree on: which account is whose, what a batch becomes in the log, what shards say. Pure."""
