"""
What accounts have made, and who made most: returns of one account over a range, and the ranking of all. Touches I/O.

``returns`` (one account), ``leaderboard`` (all of them) and ``names`` ask the store; ``ranking`` and ``codec`` are
pure; ``servicer`` is the door. How growth is worked out is the engine's business (``engine.growth``).
"""
