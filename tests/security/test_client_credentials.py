"""Our Python client against an EVS that asks who calls: encrypted, with tokens that end and are renewed."""

from collections.abc import Callable

import pytest
from evs_client import EquityStream, ExecutionManagerClient, SenderTuning, bearer, tls
from evs_client.backoff import Backoff
from evs_client.errors import PermissionDenied, Unauthenticated

from evs_server import tokens
from evs_server.roles import Role
from evs_server.tokens import LEEWAY_S
from tests.builders import ALICE, BOB
from tests.patience import PATIENCE_SECONDS
from tests.security.secured import KEY, Certificates, Secure, a_token
from tests.serving import SetClock, within_patience

PROMPT = SenderTuning(backoff_first_s=0.01, backoff_max_s=0.05, open_deadline_s=PATIENCE_SECONDS)


def issuing(clock: SetClock, subject: str, role: Role, *, ending: int) -> tuple[Callable[[], str], list[str]]:
    """An issuer whose first tokens are about to end and whose others are not; and what it has issued."""
    issued: list[str] = []

    def issue() -> str:
        life_s = 1 - LEEWAY_S if len(issued) < ending else 3_600
        issued.append(tokens.sign(KEY, subject, [role], life_s, clock=clock))
        return issued[-1]

    return issue, issued


async def test_a_stream_goes_on_with_the_next_token(secure: Secure) -> None:
    clock = SetClock()
    issue, issued = issuing(clock, str(ALICE), Role.READ_OWN, ending=1)
    async with (
        secure(clock=clock) as evs,
        EquityStream(evs.addresses[0], ALICE, metadata=bearer(issue), backoff=Backoff(0.01, 0.05)) as stream,
        ExecutionManagerClient(
            evs.addresses[0], source="em", metadata=a_token("em", Role.INGEST, clock=clock), tuning=PROMPT
        ) as sender,
    ):
        first = await within_patience(anext(stream))
        assert 1_000_000 == first.total_equity
        # The next value comes only after the stream has been ended with its token.
        while len(issued) < 2:
            await sender.on_cash_adjusted(ALICE, 1)
            await sender.on_tick_complete(1)
            await within_patience(anext(stream))
        assert 1 == stream.reconnect_count


async def test_a_sender_goes_on_with_the_next_token(secure: Secure, certificates: Certificates) -> None:
    """Over TLS; what was sent is applied once, however often the stream ends."""
    clock = SetClock()
    # One for the call that asks where to begin, one for the stream.
    issue, issued = issuing(clock, "em", Role.INGEST, ending=2)
    async with (
        secure(clock=clock, **certificates.settings, credentials=certificates.credentials()) as evs,
        ExecutionManagerClient(
            evs.addresses[0], source="em", credentials=tls(certificates.ca), metadata=bearer(issue), tuning=PROMPT
        ) as sender,
    ):
        sent = 0
        while len(issued) < 4:
            await sender.on_cash_adjusted(BOB, 1)
            await sender.on_tick_complete(1)
            sent += 1
            await within_patience(sender.wait_applied(PATIENCE_SECONDS))
        snapshot = evs.rooms.engine.snapshot(BOB)
        assert snapshot is not None
        assert 2_000_000 + sent == snapshot.cash_cents


async def test_a_client_that_is_not_let_in_says_so(secure: Secure) -> None:
    """A retry would change nothing."""
    async with secure() as evs:
        for metadata, error in (((), Unauthenticated), (a_token(BOB), PermissionDenied)):
            async with EquityStream(evs.addresses[0], ALICE, metadata=metadata) as stream:
                with pytest.raises(error):
                    await within_patience(anext(stream))


def test_half_a_client_certificate_is_refused(certificates: Certificates) -> None:
    with pytest.raises(ValueError, match="go together"):
        tls(certificates.ca, certificate_file=certificates.ca)
