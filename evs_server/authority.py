"""
Certificates for development: an authority of one's own, and what it signs. Writes files.

Not for a network that others can reach: the authority's key lies beside what it has signed. There, an operator's own
authority does this.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from evs_server.clock import Clock, SystemClock
from evs_server.errors import ConfigError

AUTHORITY: Final = "ca"
SERVER: Final = "server"

HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

AUTHORITY_DAYS: Final = 3_650
_BACK: Final = timedelta(minutes=5)
"""Certificates begin a little earlier, for clocks that are behind."""


class Authority:
    """
    Signs certificates; kept in a directory as ``ca.pem`` and ``ca-key.pem``, made if it is not there yet.

    Args:
        directory: Where it is, and where it puts what it signs, as ``NAME.pem`` and ``NAME-key.pem``.
        clock: What to date by.

    Raises:
        ConfigError: If the directory cannot be used, or holds half an authority.
    """

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self._directory = directory
        self._now = datetime.fromtimestamp((clock or SystemClock()).now_ms() // 1_000, UTC)
        self.certificate_file = directory / f"{AUTHORITY}.pem"
        key_file = directory / f"{AUTHORITY}-key.pem"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not self.certificate_file.exists():
                self._make()
            self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        except OSError as error:
            raise ConfigError(f"{error.filename or directory}: {error.strerror}") from None
        except (ValueError, TypeError):
            raise ConfigError(f"{directory} holds a ca.pem and a ca-key.pem that are not this command's") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{key_file} is not the key of an authority that this command has made")
        self._key = key

    def sign_server(self, hosts: Sequence[str], days: int) -> tuple[Path, Path]:
        """
        The files of a server's certificate and key, which are made.

        Args:
            hosts: Names and addresses that clients call it by, the first of which names it.
            days: How long it is good for.
        """
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        return self._sign(SERVER, hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, days, names)

    def sign_client(self, name: str, days: int) -> tuple[Path, Path]:
        """
        The files of a client's certificate and key, which are made.

        Args:
            name: Its common name, which ``EVS_CLIENT_ROLES`` gives roles.
            days: How long it is good for.

        Raises:
            ConfigError: If no file can have that name.
        """
        if name in {AUTHORITY, SERVER} or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ConfigError(f"a client cannot be called {name!r}: expected letters, digits, dots and dashes")
        return self._sign(name, name, ExtendedKeyUsageOID.CLIENT_AUTH, days)

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("EVS development authority")
        builder = self._builder(name, name, key.public_key(), AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs=True), critical=True)
        self._write(AUTHORITY, builder.sign(key, hashes.SHA256()), key)

    def _sign(
        self, file_name: str, name: str, usage: x509.ObjectIdentifier, days: int, *further: x509.ExtensionType
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(name), self._certificate.subject, key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        for extension in (x509.ExtendedKeyUsage([usage]), *further):
            builder = builder.add_extension(extension, critical=False)
        return self._write(file_name, builder.sign(self._key, hashes.SHA256()), key)

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _BACK)
            .not_valid_after(self._now + timedelta(days=days))
        )

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
        paths = self._directory / f"{name}.pem", self._directory / f"{name}-key.pem"
        unencrypted = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
        try:
            _replace(paths[1], pem, 0o600)
            _replace(paths[0], certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        except OSError as error:
            raise ConfigError(f"{error.filename or self._directory}: {error.strerror}") from None
        return paths


def _replace(path: Path, content: bytes, mode: int) -> None:
    # Put in place whole: a server that is running reads it as soon as it changes.
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    draft.replace(path)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not HOST.fullmatch(host):
            raise ConfigError(f"{host!r} is neither a name of a machine nor an address") from None
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    """What a key is for: signing certificates, or shaking hands."""
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
