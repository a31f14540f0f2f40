"""How valuations go out over gRPC: who follows which account, and what a slow reader loses."""
