"""
Writes ``docs/CONFIGURATION.md`` from the settings: every variable with its kind, range, default and meaning.

``python tools/configuration.py`` writes it; ``tests/unit/test_configuration.py`` fails while it is not up to date. What
is said of a variable is its description in ``evs_server/config.py``; here is only the order in which they read best.
"""

import types
from collections.abc import Iterator, Mapping
from datetime import time
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from evs_server.config import Settings

DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "CONFIGURATION.md"

SECTIONS: Final[dict[str, tuple[str, ...]]] = {
    "Where data is": (
        "database_url",
        "data_dir",
        "spool_bytes",
        "persist",
        "persist_seconds",
        "retention_days",
        "thin_after_days",
    ),
    "Addresses": (
        "listen",
        "ingest_listen",
        "bridge_listen",
        "metrics_listen",
        "bridge_metrics_listen",
        "server",
        "ingest_server",
        "origins",
        "trusted_proxies",
        "connections_max",
        "socket_mode",
    ),
    "Who may call": ("jwt_secret_file", "revoked_tokens_file", "client_roles", "token_file"),
    "Encryption": (
        "tls_cert_file",
        "tls_key_file",
        "tls_client_ca_file",
        "server_ca_file",
        "client_cert_file",
        "client_key_file",
        "allow_plaintext",
    ),
    "Valuation": ("session_timezone", "session_roll", "stale_price_seconds"),
    "Streams": ("heartbeat_seconds", "push_per_second"),
    "Several instances": ("takeover_seconds",),
    "Watching": ("ready_lag_seconds", "log_level", "log_format", "traces_endpoint", "traces_ratio"),
    "Reconciliation": (
        "reconcile_seconds",
        "reconcile_grace_seconds",
        "reconcile_repair",
        "reconcile_cents_max",
    ),
}
"""Fields by what an operator looks for; a field that is in none is listed at the end."""

_FURTHER: Final = "Further"

_WORDS: Final[Mapping[Any, str]] = {
    bool: "`true` or `false`",
    int: "integer",
    float: "number",
    Path: "path",
    time: "`HH:MM`",
    SecretStr: "URL",
    str: "text",
}

_COMPUTED: Final[Mapping[str, str]] = {"data_dir": "`~/.local/share/evs`; of root `/var/lib/evs`"}
"""Defaults that depend on who asks."""

_SHAPES: Final[Mapping[str, str]] = {
    "metrics_listen": "`host:port`",
    "bridge_metrics_listen": "`host:port`",
    "origins": "list, by commas",
    "trusted_proxies": "addresses and networks, by commas",
    "traces_endpoint": "`http://host:port` or `https://host:port`",
    "client_roles": "`NAME=ROLE+ROLE`, by commas",
    "session_timezone": "IANA name",
}
"""What a text must look like that more than its type decides."""

HEAD: Final = """\
# Configuration

Generated from the settings by `python tools/configuration.py`; do not edit.

Everything is set by environment variables, and checked as a whole at start: every problem is reported at once, with
exit status 2. A variable that begins with `EVS_` and is no setting is warned of. Keys and tokens are files that
variables name; no secret is ever given on a command line. Which variables a command reads, its `--help` says. How they
work together when others can reach EVS: [SECURITY.md](SECURITY.md).
"""


def render() -> str:
    """The whole document."""
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    listed = {name for names in SECTIONS.values() for name in names}
    further = tuple(name for name in Settings.model_fields if name not in listed)
    for title, names in (SECTIONS | ({_FURTHER: further} if further else {})).items():
        yield f"## {title}\n\n| variable | value | default | |\n|---|---|---|---|"
        yield from (_row(name, Settings.model_fields[name]) for name in names)
        yield ""


def _row(name: str, field: FieldInfo) -> str:
    return f"| `EVS_{name.upper()}` | {_value(name, field)} | {_default(name, field)} | {field.description} |"


def _value(name: str, field: FieldInfo) -> str:
    if name in _SHAPES:
        return _SHAPES[name]
    kind = field.annotation
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(each for each in get_args(kind) if each is not types.NoneType)
    if get_origin(kind) is Literal:
        return " or ".join(f"`{each}`" for each in get_args(kind))
    if name.endswith(("server", "listen")):
        return "`host:port` or `unix:path`"
    pattern = next((each.pattern for each in field.metadata if getattr(each, "pattern", None)), None)
    if pattern is not None:
        return ", ".join(f"`{word}`" for word in pattern.strip("^$()").split("|"))
    return f"{_WORDS[kind]}{_range(field)}"


def _range(field: FieldInfo) -> str:
    least = next((f"{each.ge}" for each in field.metadata if isinstance(each, Ge)), None)
    above = next((f"{each.gt}" for each in field.metadata if isinstance(each, Gt)), None)
    most = next((f"{each.le}" for each in field.metadata if isinstance(each, Le)), None)
    if most is not None:
        return f", {least} to {most}" if above is None else f", above {above}, to {most}"
    if above is not None:
        return f", above {above}"
    return "" if least is None else f", {least} or more"


def _default(name: str, field: FieldInfo) -> str:
    if name in _COMPUTED:
        return _COMPUTED[name]
    value = field.get_default()
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:%H:%M}`" if isinstance(value, time) else f"`{value}`"


if __name__ == "__main__":
    DOCUMENT.write_text(render())
