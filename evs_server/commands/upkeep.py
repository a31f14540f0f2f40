"""
The commands for an installation: its tables, and how it is.

Lives here: what is printed, exit statuses. Not here: migrations (``store.migrate``), what is looked at (``doctor``).
"""

import asyncio

import typer

from evs_server.commands.settings import load_settings, say


def migrate() -> None:
    """
    Bring the database's tables up to this version.

    "evs serve" does the same when it starts. Safe to run again, and at the same time from several places. Prints what
    was applied.

    Settings: EVS_DATABASE_URL (absent: the embedded database in EVS_DATA_DIR)
    """
    settings = load_settings()
    from evs_server.store.embedded import open_database
    from evs_server.store.migrate import migrate as apply_migrations

    async def body() -> list[str]:
        async with open_database(settings) as dsn:
            return await apply_migrations(dsn, expects_exchange=settings.database_url is not None)

    applied = asyncio.run(body())
    say("\n".join(f"applied {name}" for name in applied) if applied else "nothing to apply: the tables are up to date")


def doctor() -> None:
    """
    Say in words how this installation is.

    One line for each thing, and what to do about a problem. Looks at settings, addresses, the database and its tables,
    EVS itself, and how far each sender's events are stored. Changes nothing. Ends with status 1 if there is a problem.

    Settings: all of them.
    """
    settings = load_settings()
    from evs_server.doctor import examine

    findings = asyncio.run(examine(settings))
    for finding in findings:
        say(str(finding))
    if any(not finding.ok for finding in findings):
        raise typer.Exit(1)
