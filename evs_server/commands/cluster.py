"""
The commands of a cluster: its gateway, and all of it on one machine.

Lives here: arguments, signals, what is printed. Not here: what they run, imported inside each.
"""

import asyncio
from typing import Annotated

import typer

from evs_server.commands.settings import load_quiet_settings, load_settings, say
from evs_server.stopping import run_until_signal


def gateway() -> None:
    """
    Run a gateway: the door to a cluster of shards.

    To senders, services and bridges it is what "evs serve" is, method for method; behind it, any number of "evs shard"
    share the accounts. It takes events into the log, and answers once they are there. It keeps nothing by itself: any
    number of gateways may run, and one that is lost loses nothing.

    Prints one line with "ready" and the gRPC address once calls are served, when every virtual shard has an owner.
    SIGTERM or Ctrl-C stops it in order; a second one ends it at once. Who may call is as of "evs serve".

    Settings: EVS_NATS_URL, EVS_NATS_CREDS_FILE, EVS_NATS_CA_FILE, EVS_NATS_REPLICAS, EVS_LOG_MAX_AGE_DAYS,
    EVS_DATABASE_URL, EVS_DATA_DIR (for the development key), EVS_LISTEN, EVS_INGEST_LISTEN, EVS_METRICS_LISTEN,
    EVS_SOCKET_MODE, EVS_CONNECTIONS_MAX, EVS_JWT_SECRET_FILE, EVS_REVOKED_TOKENS_FILE, EVS_CLIENT_ROLES,
    EVS_TLS_CERT_FILE, EVS_TLS_KEY_FILE, EVS_TLS_CLIENT_CA_FILE, EVS_ALLOW_PLAINTEXT, EVS_SESSION_TIMEZONE,
    EVS_SESSION_ROLL, EVS_HEARTBEAT_SECONDS, EVS_RECONCILE_CENTS_MAX, EVS_TRACES_ENDPOINT, EVS_TRACES_RATIO,
    EVS_LOG_LEVEL, EVS_LOG_FORMAT
    """
    settings = load_settings()
    from evs_server.gateway.app import run_gateway

    run_until_signal(lambda stop: run_gateway(settings, stop, say), fast_loop=True)


def adopt() -> None:
    """
    Make the state of one process that of a cluster, once.

    What "evs serve" keeps of each account is given to its virtual shard, in one transaction; how far senders are goes
    with it, and history is not touched. "evs serve" must not run on the database, and will refuse it from then on:
    "evs shard" and "evs gateway" take its place. Take a backup first, it is the only way back. Done again, it changes
    nothing.

    Settings: EVS_DATABASE_URL, EVS_DATA_DIR (where EVS has its spool), EVS_NATS_URL, EVS_NATS_CREDS_FILE,
    EVS_NATS_CA_FILE, EVS_NATS_REPLICAS, EVS_LOG_MAX_AGE_DAYS
    """
    settings = load_settings()
    from evs_server.shard.adoption import run_adoption

    adopted = asyncio.run(run_adoption(settings))
    if adopted.now:
        say(f"{adopted.account_count} accounts are in slices now: start evs shard, then evs gateway")
    else:
        say("nothing to adopt: the state is in slices already")


def demo_cluster(
    kill: Annotated[bool, typer.Option("--kill", help="Kill a shard of the one that runs, whichever.")] = False,
) -> None:
    """
    Run everything here as a cluster, to watch and to break.

    NATS, PostgreSQL, a gateway, three shards, two bridges and a small exchange, each role a process of its own: stays
    in the foreground and says what to open and what to try. With --kill, in a second terminal, one of the shards is
    killed: the others take over what it owned, and it is started again after a while. Ctrl-C stops all of it.

    Its data is apart from that of "evs demo", in EVS_DATA_DIR/cluster. EVS_DATABASE_URL, EVS_NATS_URL, keys and
    certificates are left alone: all of it is for this machine only.

    Settings: EVS_DATA_DIR, EVS_LISTEN, EVS_BRIDGE_LISTEN (the second bridge has the port after it),
    EVS_METRICS_LISTEN (of the gateway), EVS_BRIDGE_METRICS_LISTEN (of the first bridge), EVS_LOG_LEVEL
    """
    settings = load_quiet_settings()
    from evs_server.demo.cluster import kill_shard, run_demo_cluster

    if kill:
        say(f"killed {kill_shard(settings)}")
    else:
        run_until_signal(lambda stop: run_demo_cluster(settings, stop, say))
