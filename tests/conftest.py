"""Fixtures that every test may ask for."""

from tests.database import any_database, database, embedded_server, empty_database, system_server

__all__ = ["any_database", "database", "embedded_server", "empty_database", "system_server"]
