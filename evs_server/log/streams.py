"""
What the log and the last values are kept in: two streams, made by whoever comes first, checked by everyone.

Lives here: their settings, and whether those that are there will do. Not here: what is put into them. A stream that is
otherwise is never changed by us: what an operator has set, an operator changes.
"""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any, Final

from evs_server.cluster import subjects
from evs_server.errors import ConfigError, LogUnavailable
from evs_server.limits import BATCH_EVENTS_MAX, MESSAGE_BYTES_MAX
from evs_server.log.connect import ApiError, Connection

EVENTS: Final = "EVS"
"""The log."""

LAST: Final = "EVS_LAST"
"""The newest valuation of each account."""

PAYLOAD_BYTES_MIN: Final = 2 * 2**20
"""The least that the servers must take in one message: the largest batch, all of it for one shard."""

SERVER_MIN: Final = (2, 12)
"""The first version with batches that are whole or not at all."""

DUPLICATE_SECONDS: Final = 120
OPEN_SECONDS: Final = 15.0
"""How long a start waits for a cluster of servers to have a leader."""

_RETRY_SECONDS: Final = 0.2
_CLUSTER_ID: Final = "evs.cluster_id"
_NOT_FOUND: Final = 10059
_IN_USE: Final = 10058
_NOT_ENABLED: Final = (10039, 10076)
_NO_PEERS: Final = (10005, 10074)
_NANOSECONDS: Final = 10**9
_DAY_SECONDS: Final = 86_400

assert MESSAGE_BYTES_MAX + 16 * BATCH_EVENTS_MAX <= PAYLOAD_BYTES_MIN, "indices and defaults come on top of a request"


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """
    What of the streams an operator decides.

    Attributes:
        replicas: On how many servers each is: 1, 3 or 5.
        max_age_days: How long the log keeps what is in it: longer than any outage, of a worker or of the database.
    """

    replicas: int = 1
    max_age_days: int = 7


async def open_streams(connection: Connection, settings: StreamSettings) -> str:
    """
    Make the streams that are not there, and check those that are.

    Returns:
        The deployment's id: a name that whoever made the log has given it.

    Raises:
        ConfigError: If the servers or streams cannot be used as they are; says what to do.
        LogUnavailable: If they cannot be reached, or have had no leader for ``OPEN_SECONDS``.
    """
    _check_server(connection)
    deadline = asyncio.get_running_loop().time() + OPEN_SECONDS
    while True:
        try:
            found = await _open(connection, _events(settings))
            await _open(connection, _last(settings))
        except LogUnavailable:
            if asyncio.get_running_loop().time() > deadline or not connection.is_up:
                raise
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return _cluster_id(found)


def _check_server(connection: Connection) -> None:
    version = connection.client.connected_server_version
    if (version.major, version.minor) < SERVER_MIN:
        raise ConfigError(
            f"NATS at {connection.addresses} is version {version.major}.{version.minor}: EVS needs"
            f" {'.'.join(map(str, SERVER_MIN))} or newer"
        )
    if connection.client.max_payload < PAYLOAD_BYTES_MIN:
        raise ConfigError(
            f"NATS at {connection.addresses} takes messages of {connection.client.max_payload} bytes at most: EVS needs"
            f" {PAYLOAD_BYTES_MIN}; set max_payload in its configuration, such as to 8MB"
        )


def _events(settings: StreamSettings) -> dict[str, Any]:
    return {
        **_common(EVENTS, subjects.INPUT, settings),
        "allow_atomic": True,
        "max_age": settings.max_age_days * _DAY_SECONDS * _NANOSECONDS,
        "metadata": {_CLUSTER_ID: str(uuid.uuid4())},
    }


def _last(settings: StreamSettings) -> dict[str, Any]:
    return {**_common(LAST, subjects.LAST_VALUES, settings), "max_msgs_per_subject": 1}


def _common(name: str, subject: str, settings: StreamSettings) -> dict[str, Any]:
    return {
        "name": name,
        "subjects": [subject],
        "retention": "limits",
        "discard": "old",
        "storage": "file",
        "num_replicas": settings.replicas,
        "allow_direct": True,
        "duplicate_window": DUPLICATE_SECONDS * _NANOSECONDS,
    }


async def _open(connection: Connection, wanted: dict[str, Any]) -> dict[str, Any]:
    """The settings of a stream, as it is now."""
    name = wanted["name"]
    try:
        try:
            found = await connection.api(f"STREAM.INFO.{name}", {})
        except ApiError as error:
            if error.code != _NOT_FOUND:
                raise
            found = await _make(connection, wanted)
    except ApiError as error:
        raise _problem(name, wanted, error) from error
    config: dict[str, Any] = found["config"]
    differing = [key for key in wanted if key != "metadata" and config.get(key, _default(wanted[key])) != wanted[key]]
    if differing:
        raise ConfigError("\n".join(_difference(name, key, config.get(key), wanted[key]) for key in differing))
    return config


async def _make(connection: Connection, wanted: dict[str, Any]) -> dict[str, Any]:
    name = wanted["name"]
    try:
        return await connection.api(f"STREAM.CREATE.{name}", wanted)
    except ApiError as error:
        if error.code != _IN_USE:
            raise
        return await connection.api(f"STREAM.INFO.{name}", {})  # somebody else came first


def _problem(name: str, wanted: dict[str, Any], error: ApiError) -> ConfigError | LogUnavailable:
    if error.code in _NOT_ENABLED:
        return ConfigError("NATS runs without JetStream, or this user may not use it: enable it in its configuration")
    if error.code in _NO_PEERS and wanted["num_replicas"] > 1:
        return LogUnavailable(
            f"stream {name} needs {wanted['num_replicas']} servers (EVS_NATS_REPLICAS), NATS has fewer: {error}"
        )
    return LogUnavailable(f"stream {name} cannot be used: {error}")


def _default(wanted: object) -> object:
    """What a setting is that a server leaves out."""
    return type(wanted)()


def _difference(name: str, key: str, found: object, wanted: object) -> str:
    edit = f"or change it with `nats stream edit {name}"
    advice = {
        "num_replicas": f"set EVS_NATS_REPLICAS to that, {edit} --replicas={wanted}`",
        "max_age": f"set EVS_LOG_MAX_AGE_DAYS to that ({_DAY_SECONDS * _NANOSECONDS} are a day), {edit} --max-age`",
    }
    return (
        f"stream {name} has {key} {found!r}, not {wanted!r}: "
        f"{advice.get(key, 'it was not made by EVS, or changed by hand; change it back')}"
    )


def _cluster_id(config: dict[str, Any]) -> str:
    found = (config.get("metadata") or {}).get(_CLUSTER_ID)
    if not found:
        raise ConfigError(f"stream {EVENTS} has no {_CLUSTER_ID} in its metadata: it was not made by EVS")
    return str(found)
