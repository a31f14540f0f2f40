"""
Tokens of browsers: who may see which account. Signed with HS256, by a key that issuer and verifier share.

Lives here: keys, claims, checking. Not here: what a token's owner may do (``bridge.session``). Reads the key's file and
the clock. The algorithm is fixed here, never taken from a token; no key or token reaches a log, a repr or an error.
"""

import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt

from evs_server.clock import Clock, SystemClock
from evs_server.config import Settings
from evs_server.errors import ConfigError, Unauthenticated
from evs_server.limits import EXACT_MAX

ALGORITHM: Final = "HS256"
AUDIENCE: Final = "evs"
ISSUER: Final = "evs"
CLAIMS: Final = ("exp", "iat", "aud", "iss", "sub")

TOKEN_BYTES_MAX: Final = 4_096
"""A token of ours has about 200 bytes; nothing longer is looked at."""

LEEWAY_S: Final = 30
"""How far the clocks of issuer and verifier may differ."""

KEY_BYTES_MIN: Final = 32
"""RFC 7518 3.2: a key of HS256 is at least as long as its digest."""

DEVELOPMENT_KEY: Final = "jwt.key"


@dataclass(frozen=True, slots=True)
class Grant:
    """
    What a good token gives.

    Attributes:
        account_id: The one account its bearer may see.
        valid_ms: How long from now it is good for; zero or less within the leeway.
    """

    account_id: int
    valid_ms: int


def issue(settings: Settings, account_id: int, ttl_s: int = 3_600, *, clock: Clock | None = None) -> str:
    """
    A token that a bridge with the same settings accepts.

    Args:
        settings: Where the key is.
        account_id: The account its bearer may see, 1 to ``EXACT_MAX``.
        ttl_s: Seconds it is good for; negative makes one that has expired.
        clock: What to date it by.

    Raises:
        ConfigError: If there is no key to sign with.
        ValueError: If the account id is out of its range.
    """
    if not 0 < account_id <= EXACT_MAX:
        raise ValueError(f"account id {account_id} is not between 1 and {EXACT_MAX}")
    now_s = (clock or SystemClock()).now_ms() // 1_000
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(account_id), "iat": now_s, "exp": now_s + ttl_s}
    return jwt.encode(claims, read_key(settings), algorithm=ALGORITHM)


class TokenVerifier:
    """
    Tells good tokens from bad ones.

    Args:
        key: What tokens are signed with; see ``read_key``.
        clock: What says how long a token has left.
    """

    __slots__ = ("_clock", "_key")

    def __init__(self, key: bytes, clock: Clock | None = None) -> None:
        self._key = key
        self._clock = clock or SystemClock()

    @classmethod
    def of(cls, settings: Settings, clock: Clock | None = None) -> "TokenVerifier":
        """
        A verifier of what ``issue`` signs with the same settings.

        Raises:
            ConfigError: If there is no key that can be used.
        """
        return cls(read_key(settings), clock)

    def verify(self, token: str) -> int:
        """
        The account whose token this is.

        Raises:
            Unauthenticated: If it is not good, for whatever reason.
        """
        return self.grant(token).account_id

    def grant(self, token: str) -> Grant:
        """
        The account whose token this is, and how long the token is good for.

        Raises:
            Unauthenticated: If it is not good, for whatever reason.
        """
        # The length is checked before anything is parsed; a character has at least one byte.
        if len(token) > TOKEN_BYTES_MAX:
            raise Unauthenticated(
                f"token of {len(token)} characters is longer than {TOKEN_BYTES_MAX}",
                length=len(token),
                bound=TOKEN_BYTES_MAX,
            )
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_S,
                options={"require": list(CLAIMS)},
            )
            valid_ms = int(claims["exp"]) * 1_000 - self._clock.now_ms()
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("token has expired") from None
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError):
            # Besides its own errors the library lets through what hostile JSON and Unicode cause. The cause stays out
            # of the message: it may quote the token.
            raise Unauthenticated("token is not valid") from None
        return Grant(_account_id(claims["sub"]), valid_ms)


def _account_id(subject: str) -> int:
    if subject.isascii() and subject.isdigit() and len(subject) <= len(str(EXACT_MAX)):
        account_id = int(subject)
        if str(account_id) == subject and 0 < account_id <= EXACT_MAX:
            return account_id
    raise Unauthenticated("token names no account")


def read_key(settings: Settings) -> bytes:
    """
    The key that signs tokens: the operator's, or else a development key in the data directory, made if need be.

    Raises:
        ConfigError: If the operator's file cannot be read or is too short, or no development key can be made.
    """
    path = settings.jwt_secret_file
    name = "EVS_JWT_SECRET_FILE"
    if path is None:
        path = settings.data_dir / DEVELOPMENT_KEY
        name = "EVS_DATA_DIR"
    try:
        if settings.jwt_secret_file is None and not path.exists():
            _make_key(path)
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{name}: {path}: {error.strerror}") from None
    if len(key) < KEY_BYTES_MIN:
        raise ConfigError(f"{name}: the key in {path} has {len(key)} bytes; at least {KEY_BYTES_MIN} are needed")
    if b"-----BEGIN" in key:
        raise ConfigError(f"{name}: {path} holds a PEM file; tokens are signed with a shared secret, not a key pair")
    return key


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written in full under another name (mkstemp: 0600) and then linked, which fails if the name is taken: whoever
    # reads the path sees a whole key, and of two processes at once both see the first one's.
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(KEY_BYTES_MIN).encode())
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink()
