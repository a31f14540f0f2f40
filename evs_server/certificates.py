"""
Certificates as files: read, checked, and read again when they change, so that a renewed one needs no restart.

Lives here: what TLS libraries are given, for serving and for calling. Not here: who may do what with which certificate
(``access``), and making any (``authority``). Reads files. TLS 1.2 is the oldest that is spoken. A key reaches no log,
repr or error.
"""

import logging
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc
from cryptography import x509

from evs_server.config import Settings
from evs_server.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pem:
    """What the files held when they were last good."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None


class ServerCertificate:
    """
    A server's certificate, its key, and whose clients' certificates count; always a set that fits together.

    Args:
        certificate: The certificate, followed by those between it and a root.
        key: Its key.
        client_ca: Certificates of whoever signs clients'; None: they are not asked for any.

    Raises:
        ConfigError: If a file cannot be read, or key and certificate do not belong together.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._stamp = self._stamps()
        self.pem = self._read()

    @classmethod
    def of(cls, settings: Settings, *, asking_clients: bool) -> "ServerCertificate | None":
        """
        The certificate that is set; None if none is.

        Args:
            asking_clients: Whether clients' certificates are wanted, if it is set whose count.

        Raises:
            ConfigError: As the constructor.
        """
        if settings.tls_cert_file is None:
            return None
        assert settings.tls_key_file is not None, "settings go together"
        client_ca = settings.tls_client_ca_file if asking_clients else None
        return cls(settings.tls_cert_file, settings.tls_key_file, client_ca)

    def renewed(self) -> bool:
        """Whether the files have changed since the last call, to a set that is good; one that is not is left alone."""
        stamp = self._stamps()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.pem = self._read()
        except ConfigError as error:
            # Between the writing of a new certificate and that of its key the two do not fit. They will, soon.
            log.warning("the certificate in use is kept: %s", error.message)
            return False
        log.info("certificate %s was renewed", self._certificate)
        return True

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For a gRPC server, which looks for a renewed one at each handshake."""

        def renewed() -> grpc.ServerCertificateConfiguration | None:
            return self._grpc_configuration() if self.renewed() else None

        return grpc.dynamic_ssl_server_credentials(
            self._grpc_configuration(),
            renewed,  # type: ignore[arg-type]  # None, which the types leave out, is how it says that nothing is new
            require_client_authentication=self.pem.client_ca is not None,
        )

    def context(self) -> ssl.SSLContext:
        """For a server of Python's own, which looks for a renewed one at each handshake; asks no client for any."""
        newest = self._fresh_context()

        def look(connection: ssl.SSLObject, _server_name: str | None, _context: ssl.SSLContext) -> None:
            nonlocal newest
            if self.renewed():
                newest = self._fresh_context()
            connection.context = newest

        context = self._fresh_context()
        context.sni_callback = look
        return context

    def _grpc_configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.pem.key, self.pem.certificate)], root_certificates=self.pem.client_ca
        )

    def _fresh_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certificate, self._key)
        return context

    def _read(self) -> Pem:
        """The files' contents, once it is clear that they can serve."""
        certificate = read_pem("EVS_TLS_CERT_FILE", self._certificate)
        key = read_pem("EVS_TLS_KEY_FILE", self._key)
        client_ca = None if self._client_ca is None else read_certificates("EVS_TLS_CLIENT_CA_FILE", self._client_ca)
        try:
            self._fresh_context()
        except (ssl.SSLError, OSError):
            # The library's own words are numbers of OpenSSL's.
            raise ConfigError(
                f"EVS_TLS_CERT_FILE, EVS_TLS_KEY_FILE: {self._certificate} and {self._key} are not a PEM certificate"
                " and its key, without a passphrase"
            ) from None
        return Pem(certificate, key, client_ca)

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in (self._certificate, self._key, self._client_ca) if path is not None)


def channel_credentials(settings: Settings) -> grpc.ChannelCredentials | None:
    """
    For calling EVS: whom to trust, and what to show; None for plain text.

    Raises:
        ConfigError: If a file cannot be read.
    """
    if settings.server_ca_file is None:
        return None
    shown = {}
    if settings.client_cert_file is not None:
        assert settings.client_key_file is not None, "settings go together"
        shown["certificate_chain"] = read_pem("EVS_CLIENT_CERT_FILE", settings.client_cert_file)
        shown["private_key"] = read_pem("EVS_CLIENT_KEY_FILE", settings.client_key_file)
    return grpc.ssl_channel_credentials(read_certificates("EVS_SERVER_CA_FILE", settings.server_ca_file), **shown)


def trusting(setting: str, path: Path) -> ssl.SSLContext:
    """
    For connecting to whoever shows a certificate that the authorities in a file have signed, and nobody else's.

    Raises:
        ConfigError: If the file cannot be read, or holds none.
    """
    return ssl.create_default_context(cadata=read_certificates(setting, path).decode("ascii", "ignore"))


def expires_at(certificate: Path) -> datetime:
    """
    When the first of a file's certificates ends, in UTC.

    Raises:
        ConfigError: If there is none in it.
    """
    pem = read_pem("EVS_TLS_CERT_FILE", certificate)
    try:
        return min(each.not_valid_after_utc for each in x509.load_pem_x509_certificates(pem)).astimezone(UTC)
    except ValueError:
        raise ConfigError(f"EVS_TLS_CERT_FILE: {certificate} holds no PEM certificate") from None


_PEM: Final = b"-----BEGIN "


def read_pem(setting: str, path: Path) -> bytes:
    """
    A PEM file.

    Raises:
        ConfigError: If it cannot be read or is something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path}: {error.strerror}") from None
    if _PEM not in content:
        raise ConfigError(f"{setting}: {path} is no PEM file")
    return content


def read_certificates(setting: str, path: Path) -> bytes:
    """
    A PEM file of certificates.

    Raises:
        ConfigError: If it cannot be read, or holds none.
    """
    content = read_pem(setting, path)
    try:
        x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ConfigError(f"{setting}: {path} holds no PEM certificate") from None
    return content


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
