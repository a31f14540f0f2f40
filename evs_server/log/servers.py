"""
Where NATS is, how it proves who it is, and what it is shown: addresses, credentials and certificates. Reads files.

Not here: connecting (``connect``). Invariant: with addresses of ``tls://`` nothing is said in plain text.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import nats.errors
from nats.aio.client import Client

from evs_server.certificates import trusting
from evs_server.errors import ConfigError

PORT: Final = 4222


class EncryptedClient(Client):
    """
    The library's client, but that it says nothing to a server that does not encrypt.

    The library leaves that to the server, whatever the address says: one that claims not to know of TLS, as anybody on
    the way may do in its place, would be sent the credentials in plain text.
    """

    def _connect_command(self) -> bytes:
        if not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnRequiredError
        return super()._connect_command()


@dataclass(frozen=True, slots=True)
class Servers:
    """
    Servers that belong together.

    Attributes:
        parts: Their addresses; the credentials of the first are used for all.
        ca_file: Who signs their certificates; None: whom the system trusts.
    """

    parts: tuple[SplitResult, ...]
    ca_file: Path | None

    @property
    def shown(self) -> str:
        """Their addresses for people: without credentials."""
        return ",".join(f"{each.hostname}:{each.port or PORT}" for each in self.parts)

    @property
    def urls(self) -> tuple[str, ...]:
        """Their addresses for the library: without credentials, too."""
        return tuple(f"{each.scheme}://{each.hostname}:{each.port or PORT}" for each in self.parts)

    @property
    def encrypted(self) -> bool:
        """Whether nothing may be said to them in plain text."""
        return self.parts[0].scheme == "tls"

    def options(self, creds_file: Path | None) -> dict[str, Any]:
        """
        What the library is to know of credentials and certificates.

        Raises:
            ConfigError: If a file of certificates holds none.
        """
        options = _credentials(self.parts[0])
        if creds_file is not None:
            options["user_credentials"] = str(creds_file)
        if self.ca_file is not None:
            options["tls"] = trusting("EVS_NATS_CA_FILE", self.ca_file)
        return options


def read_servers(url: str, ca_file: Path | None) -> Servers:
    """
    The servers that the settings name.

    Args:
        url: One address or several, comma-separated.

    Raises:
        ConfigError: If an address cannot be one, or some are encrypted and others are not.
    """
    parts = tuple(map(_parsed, filter(None, map(str.strip, url.split(","))))) or (_parsed(""),)
    schemes = {each.scheme for each in parts}
    if len(schemes) > 1 or (ca_file is not None and schemes != {"tls"}):
        raise ConfigError("EVS_NATS_URL: expected tls:// before each address; or before none, and no EVS_NATS_CA_FILE")
    return Servers(parts, ca_file)


def refuses(error: Exception) -> bool:
    """Whether the servers, which know the same users, refuse the credentials."""
    return isinstance(error, nats.errors.AuthorizationError) or "uthorization" in str(error)


def distrust(error: Exception) -> str:
    """Why a server is told nothing, in words; empty if it is something else that is wrong."""
    if isinstance(error, nats.errors.SecureConnRequiredError):
        return "does not encrypt: have it do so, or write nats:// in EVS_NATS_URL"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"shows a certificate that is not taken, see EVS_NATS_CA_FILE: {error.verify_message}"
    return ""


def _parsed(address: str) -> SplitResult:
    try:
        parts = urlsplit(address if "://" in address else f"nats://{address}")
        usable = parts.scheme in {"nats", "tls"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        # The address may hold a password, and is not shown.
        raise ConfigError("EVS_NATS_URL: expected nats://host:port or tls://host:port, several separated by commas")
    return parts


def _credentials(server: SplitResult) -> dict[str, Any]:
    if server.username is None:
        return {}
    if server.password is None:
        return {"token": unquote(server.username)}
    return {"user": unquote(server.username), "password": unquote(server.password)}
