"""
Tokens: who calls, and what it may do. Signed with HS256, by a key that issuer and verifier share.

Lives here: keys, claims, checking. Not here: which method asks for which role (``access``), what a browser may do with
its account (``bridge.session``). Reads the key's file and the clock. The algorithm is fixed here, never taken from a
token; no key or token reaches a log, a repr or an error.

The subject is the account whose equity its bearer may see, or the name of a program. ``scope`` holds the roles, one
space between two, as OAuth has it; without it a token has ``read:own``. By its ``jti`` a token can be taken back before
its end (``revocation``); one without cannot.
"""

import os
import re
import secrets
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import jwt

from evs_server.clock import Clock, SystemClock
from evs_server.config import Settings
from evs_server.errors import ConfigError, Unauthenticated
from evs_server.limits import EXACT_MAX
from evs_server.revocation import Revocations
from evs_server.roles import Caller, Role, known_roles

ALGORITHM: Final = "HS256"
AUDIENCE: Final = "evs"
ISSUER: Final = "evs"
CLAIMS: Final = ("exp", "iat", "aud", "iss", "sub")

TOKEN_BYTES_MAX: Final = 4_096
"""A token of ours has about 200 bytes; nothing longer is looked at."""

TOKENS_REMEMBERED: Final = 1_024
"""Good tokens that need not be checked again but for their time: to check one costs as much as a fifth of a call."""

LEEWAY_S: Final = 30
"""How far the clocks of issuer and verifier may differ."""

TAKEN_BACK: Final = "token has been taken back"

KEY_BYTES_MIN: Final = 32
"""RFC 7518 3.2: a key of HS256 is at least as long as its digest."""

DEVELOPMENT_KEY: Final = "jwt.key"

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._@/-]{0,63}")
"""What a program may be called; never only digits, which are an account."""

READS_OWN: Final = frozenset({Role.READ_OWN})


@dataclass(frozen=True, slots=True)
class Grant:
    """
    What a browser's good token gives.

    Attributes:
        account_id: The one account its bearer may see.
        valid_ms: How long from now it is good for; zero or less within the leeway.
        token_id: What it can be taken back by; None: it cannot.
    """

    account_id: int
    valid_ms: int
    token_id: str | None = None


def issue(settings: Settings, account_id: int, ttl_s: int = 3_600, *, clock: Clock | None = None) -> str:
    """
    A browser's token, which a bridge with the same settings accepts.

    Args:
        settings: Where the key is.
        account_id: The account its bearer may see, 1 to ``EXACT_MAX``.
        ttl_s: Seconds it is good for; negative makes one that has expired.
        clock: What to date it by.

    Raises:
        ConfigError: If there is no key to sign with.
        ValueError: If the account id is out of its range.
    """
    return sign(read_key(settings), str(account_id), READS_OWN, ttl_s, clock=clock)


def new_id() -> str:
    """An id that no other token has."""
    return secrets.token_hex(8)


def sign(
    key: bytes,
    subject: str,
    roles: Collection[Role],
    ttl_s: int = 3_600,
    *,
    token_id: str | None = None,
    clock: Clock | None = None,
) -> str:
    """
    A token for a browser or a program.

    Args:
        key: What to sign with; see ``read_key``.
        subject: An account's id, or the name of a program: a letter, then letters, digits and ``._@/-``, 64 at most.
        roles: What its bearer may do.
        ttl_s: Seconds it is good for; negative makes one that has expired.
        token_id: What it can be taken back by; absent: a new one.
        clock: What to date it by.

    Raises:
        ValueError: If the subject is neither, or is no account and the token is to read its own.
    """
    account_id = _account_id(subject)
    if account_id is None and not NAME.fullmatch(subject):
        raise ValueError(f"{subject!r} is neither an account, 1 to {EXACT_MAX}, nor a program's name")
    if account_id is None and Role.READ_OWN in roles:
        raise ValueError(f"{subject!r} has no account of its own to read")
    now_s = (clock or SystemClock()).now_ms() // 1_000
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now_s, "exp": now_s + ttl_s}
    further = {"scope": " ".join(sorted(roles)), "jti": token_id or new_id()}
    return jwt.encode(claims | further, key, algorithm=ALGORITHM)


class TokenVerifier:
    """
    Tells good tokens from bad ones.

    Args:
        key: What tokens are signed with; see ``read_key``.
        clock: What says how long a token has left.
        revocations: Tells which have been taken back; None: none has.
    """

    __slots__ = ("_clock", "_good", "_key", "_revocations")

    def __init__(self, key: bytes, clock: Clock | None = None, revocations: Revocations | None = None) -> None:
        self._key = key
        self._clock = clock or SystemClock()
        self._revocations = revocations
        self._good: OrderedDict[str, tuple[Caller, int]] = OrderedDict()

    @classmethod
    def of(cls, settings: Settings, clock: Clock | None = None) -> "TokenVerifier":
        """
        A verifier of what ``issue`` signs with the same settings.

        Raises:
            ConfigError: If there is no key that can be used, or the file of tokens taken back cannot be read.
        """
        path = settings.revoked_tokens_file
        return cls(read_key(settings), clock, None if path is None else Revocations(path, clock))

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
            Unauthenticated: If it is not good, for whatever reason, or gives no account to read.
        """
        caller = self.caller(token)
        if caller.account_id is None or not caller.roles & {Role.READ_OWN, Role.READ_ANY}:
            raise Unauthenticated("token gives no account to read")
        assert caller.valid_ms is not None, "every token expires"
        return Grant(caller.account_id, caller.valid_ms, caller.token_id)

    def caller(self, token: str) -> Caller:
        """
        Whose token this is, what it may do, and how long the token is good for.

        Raises:
            Unauthenticated: If it is not good, for whatever reason.
        """
        caller, ends_s = self._good.get(token) or self._check(token)
        valid_ms = ends_s * 1_000 - self._clock.now_ms()
        if valid_ms <= -LEEWAY_S * 1_000:
            self._good.pop(token, None)
            raise Unauthenticated("token has expired")
        if self._revocations is not None and caller.token_id and self._revocations.holds(caller.token_id):
            raise Unauthenticated(TAKEN_BACK)
        return replace(caller, valid_ms=valid_ms)

    def watch(self, token_id: str | None, on_revoked: Callable[[], None]) -> Callable[[], None]:
        """
        Have ``on_revoked`` called when the token of this id is taken back, if that can ever be.

        Returns:
            What ends that, to be called once.
        """
        if self._revocations is None or token_id is None:
            return _do_nothing
        return self._revocations.watch(token_id, on_revoked)

    def _check(self, token: str) -> tuple[Caller, int]:
        """A token's caller and its end in unix seconds, which are remembered."""
        claims = self._claims(token)
        subject, scope, token_id = claims["sub"], claims.get("scope", Role.READ_OWN), claims.get("jti")
        account_id = _account_id(subject)
        if not isinstance(token_id, str | None):
            raise Unauthenticated("token is not valid")
        if not isinstance(scope, str) or (account_id is None and not NAME.fullmatch(subject)):
            raise Unauthenticated("token names no account and no program")
        # What other services may be asked with the same token is none of our business.
        roles = known_roles(scope.split(" "))
        name = subject if account_id is None else f"account {account_id}"
        checked = Caller(name, roles, account_id, token_id=token_id), self._end_s(claims)
        self._good[token] = checked
        if len(self._good) > TOKENS_REMEMBERED:
            self._good.popitem(last=False)
        return checked

    def _claims(self, token: str) -> Mapping[str, Any]:
        # The length is checked before anything is parsed; a character has at least one byte.
        if len(token) > TOKEN_BYTES_MAX:
            raise Unauthenticated(
                f"token of {len(token)} characters is longer than {TOKEN_BYTES_MAX}",
                length=len(token),
                bound=TOKEN_BYTES_MAX,
            )
        try:
            return jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # Times are held against our own clock, which tests may set; that they are there is checked here.
                options={"require": list(CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError):
            # Besides its own errors the library lets through what hostile JSON and Unicode cause. The cause stays out
            # of the message: it may quote the token.
            raise Unauthenticated("token is not valid") from None

    def _end_s(self, claims: Mapping[str, Any]) -> int:
        try:
            end_s, begin_s = int(claims["exp"]), max(int(claims["iat"]), int(claims.get("nbf", 0)))
        except (TypeError, ValueError, OverflowError):
            raise Unauthenticated("token is not valid") from None
        if begin_s * 1_000 - self._clock.now_ms() > LEEWAY_S * 1_000:
            raise Unauthenticated("token is not valid yet")
        return end_s


def _do_nothing() -> None:
    """There is nothing to end."""


def _account_id(subject: str) -> int | None:
    if subject.isascii() and subject.isdigit() and len(subject) <= len(str(EXACT_MAX)):
        account_id = int(subject)
        if str(account_id) == subject and 0 < account_id <= EXACT_MAX:
            return account_id
    return None


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
