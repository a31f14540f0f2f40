"""Who may call what: rules by exact method, quotas of single readers, and the guard that holds every method to them."""
