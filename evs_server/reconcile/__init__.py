"""
Reconciliation: our books held against the tables that AccountService writes, and corrected where that is safe.

``compare`` (what differs), ``watch`` (since when, and whether it stood), ``explain`` (which trades or flow account for
it), ``reconciler`` (passes), ``servicer`` (the methods of operators), ``command`` (the other end of those).
"""
