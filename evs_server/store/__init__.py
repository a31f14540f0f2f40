"""
Where state survives: tables, transactions, and what puts flushes into them.

``postgres`` is the store; ``memory`` its stand-in in memory, held to the same contract. ``writer`` commits behind
everyone's back. ``embedded`` is a PostgreSQL of our own. All SQL is in ``*.sql``.
"""
