"""
The command of a worker. Lives here: arguments, signals, what is printed. Not here: what it runs, imported inside.
"""

from evs_server.commands.settings import load_settings, say
from evs_server.stopping import run_until_signal


def shard() -> None:
    """
    Run a worker of a cluster: own a share of the accounts, value them, store and publish.

    Any number of them, on one PostgreSQL and one NATS: they share 64 virtual shards and the journal among themselves,
    and take over what one that ends has owned. Nobody calls a worker: events come by way of the log, from
    "evs gateway", and reads by way of NATS.

    Prints one line with "ready" and its name once it has its share. SIGTERM or Ctrl-C stops it in order: what was
    applied is stored, and given up to the others. A second one ends it at once; nothing is lost by that either.

    Settings: EVS_NATS_URL, EVS_NATS_CREDS_FILE, EVS_NATS_CA_FILE, EVS_NATS_REPLICAS, EVS_LOG_MAX_AGE_DAYS,
    EVS_DATABASE_URL, EVS_METRICS_LISTEN, EVS_SESSION_TIMEZONE, EVS_SESSION_ROLL, EVS_STALE_PRICE_SECONDS,
    EVS_TAKEOVER_SECONDS, EVS_READY_LAG_SECONDS, EVS_RETENTION_DAYS, EVS_THIN_AFTER_DAYS, EVS_RECONCILE_SECONDS,
    EVS_RECONCILE_GRACE_SECONDS, EVS_RECONCILE_REPAIR, EVS_RECONCILE_CENTS_MAX, EVS_TRACES_ENDPOINT,
    EVS_TRACES_RATIO, EVS_LOG_LEVEL, EVS_LOG_FORMAT
    """
    settings = load_settings()
    from evs_server.shard.app import run_shard

    run_until_signal(lambda stop: run_shard(settings, stop, say), fast_loop=True)
