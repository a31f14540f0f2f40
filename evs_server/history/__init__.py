"""History: stored valuations of one account as bars of time."""
