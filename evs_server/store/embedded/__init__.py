"""
A PostgreSQL of our own, for who names none: started with the process, and gone with it. Touches I/O.

``server`` is the whole of it as seen from outside. Below: ``installation`` (where the programs are, and as whom they
run) and ``data_directory`` (whose it is).
"""

from evs_server.store.embedded.server import (
    EmbeddedPostgres,
    embedded_postgres,
    open_database,
    remove_runtime_of,
    running_database,
)

__all__ = ["EmbeddedPostgres", "embedded_postgres", "open_database", "remove_runtime_of", "running_database"]
