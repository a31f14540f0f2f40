"""
The numbers of a running EVS: read from its rooms when somebody looks, and measured where nothing else would know.

Lives here: names, helps and labels; which count of which room they show. Not here: how they are served
(``telemetry.exposition``), the bridge's (``bridge.metrics``), what a number means for whoever is woken by it
(``docs/OPERATIONS.md``).
"""
