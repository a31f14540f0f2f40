"""Fixtures that every test may ask for."""

import os

from tests.database import any_database, database, embedded_server, empty_database, system_server

__all__ = ["any_database", "database", "embedded_server", "empty_database", "system_server"]

# Nobody watches an EVS of the tests, unless the test does: it then says at which address.
for name in ("EVS_METRICS_LISTEN", "EVS_BRIDGE_METRICS_LISTEN"):
    os.environ.setdefault(name, "")
