"""
One batch on its way through the intake: how far it has come, and what became of it. Pure; values only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from evs_server.errors import EvsError, RequestError
from evs_server.model import Batch, ExchangeAccount

NOBODY: Final[Mapping[int, RequestError]] = MappingProxyType({})
NO_ACCOUNTS: Final[Mapping[int, ExchangeAccount]] = MappingProxyType({})


@dataclass(slots=True)
class Outcome:
    """
    What became of a batch.

    Attributes:
        refusals: By index in the batch, ascending.
        end: Index after the last event that counts; less than the batch's length only if ``error`` says why.
        error: What ended the batch early; it and the events from ``end`` on have not consumed their sequence.
    """

    duplicate_count: int = 0
    accounts_valued: int = 0
    end: int = 0
    refusals: dict[int, RequestError] = field(default_factory=dict)
    error: EvsError | None = None

    def refuse(self, index: int, error: RequestError) -> None:
        """Take note that one event was refused for good."""
        self.refusals[index] = error


@dataclass(slots=True)
class Course:
    """
    One batch being applied, and how far it has come: events before ``advanced`` have consumed their sequence.

    Attributes:
        changed: Whether anything was applied that the intake has yet to take note of.
    """

    batch: Batch
    outcome: Outcome
    now_ms: int
    refused: Mapping[int, RequestError]
    accounts: Mapping[int, ExchangeAccount]
    advanced: int
    changed: bool = False
