"""
Everything on one machine, for who wants to see it: wired to each other, started and stopped in order. Touches I/O.

``alone`` is ``evs demo``, one process that has all accounts; ``cluster`` is ``evs demo-cluster``, several that share
them. Below: ``parts`` (what both have: the exchange that trades, bridges and the names they tell), ``roles`` (a gateway
and shards as processes), ``workers`` (which of them run, and how one is killed).
"""
