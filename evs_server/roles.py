"""
What a caller may be, and which caller it is. Pure.

Lives here: the four roles and the words for them. Not here: how a caller proves who it is (``tokens``, ``access``), and
which method asks for which role (``access.rules``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """A set of rights; the value is how settings, tokens and people write it."""

    INGEST = "ingest"
    """Send events."""

    READ_OWN = "read:own"
    """Read one account: the one that the token names."""

    READ_ANY = "read:any"
    """Read every account."""

    ADMIN = "admin"
    """Reconcile and recompute; no account's stream."""


EVERY_ROLE: Final = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who calls, as far as it has been proved.

    Attributes:
        name: For people and for quotas: a token's subject, a certificate's name.
        roles: What it may do.
        account_id: The one account that ``READ_OWN`` lets it read; None: it has none.
        valid_ms: How long from now this holds; None: as long as its connection.
        token_id: What its token can be taken back by; None: it has none, or that cannot be.
    """

    name: str
    roles: frozenset[Role]
    account_id: int | None = None
    valid_ms: int | None = None
    token_id: str | None = None


def parse_roles(words: Iterable[str]) -> frozenset[Role]:
    """
    The roles that words name.

    Raises:
        ValueError: If a word is no role.
    """
    roles = set()
    for word in words:
        if word not in set(Role):
            raise ValueError(f"unknown role {word!r}; expected {', '.join(Role)}")
        roles.add(Role(word))
    return frozenset(roles)


def known_roles(words: Iterable[str]) -> frozenset[Role]:
    """The roles among words that may mean something elsewhere, too."""
    return frozenset(Role(word) for word in words if word in set(Role))
