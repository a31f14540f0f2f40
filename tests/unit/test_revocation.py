"""Tokens taken back by their ids: the file as it is read, read again, and spoilt."""

import asyncio
import os
from pathlib import Path

import jwt
import pytest

from evs_server import tokens
from evs_server.config import load
from evs_server.errors import ConfigError, Unauthenticated
from evs_server.revocation import FILE_BYTES_MAX, LOOK_SECONDS, Revocations
from evs_server.roles import Role
from evs_server.tokens import TokenVerifier
from tests.serving import SetClock, within_patience

KEY = b"k" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "revoked"
    path.write_text("# of this week\nstolen   # Alice's laptop\n\nlost\n")
    return path


def write(file: Path, text: str) -> None:
    """In its place at once, as an editor or ``mv`` does it; another file, whatever the clock of the disk says."""
    draft = file.with_suffix(".new")
    draft.write_text(text)
    draft.replace(file)


def a_token(token_id: str | None, clock: SetClock) -> str:
    if token_id is not None:
        return tokens.sign(KEY, "7", [Role.READ_OWN], token_id=token_id, clock=clock)
    claims = jwt.decode(a_token("x", clock), options={"verify_signature": False})
    return jwt.encode({name: value for name, value in claims.items() if name != "jti"}, KEY)


def test_a_line_names_a_token_and_may_say_why(file: Path) -> None:
    revocations = Revocations(file, SetClock())
    assert [True, True, False, False] == [revocations.holds(each) for each in ("stolen", "lost", "kept", "")]


def test_a_file_that_changes_is_read_again_within_a_second(file: Path) -> None:
    clock = SetClock()
    revocations = Revocations(file, clock)
    write(file, "kept\n")
    assert not revocations.holds("kept"), "looked at it just now"
    clock.ms += int(LOOK_SECONDS * 1_000)
    assert [True, False] == [revocations.holds(each) for each in ("kept", "lost")]


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: write(path, "x" * (FILE_BYTES_MAX + 1))])
def test_a_file_that_cannot_be_read_takes_nothing_back_and_gives_nothing_back(file: Path, spoil: object) -> None:
    """Whoever loses the file has not forgiven anybody."""
    assert callable(spoil)
    revocations = Revocations(file, SetClock())
    spoil(file)
    revocations.look()
    assert revocations.holds("stolen")
    write(file, "other\n")
    revocations.look()
    assert [False, True] == [revocations.holds(each) for each in ("stolen", "other")]


def test_a_start_without_the_file_that_is_set_is_refused(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path, revoked_tokens_file=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"EVS_REVOKED_TOKENS_FILE: .*nowhere: No such file"):
        TokenVerifier.of(settings)


def test_a_token_that_is_taken_back_is_refused_though_it_was_good_before(file: Path) -> None:
    clock = SetClock()
    verifier = TokenVerifier(KEY, clock, Revocations(file, clock))
    token, other = a_token("kept", clock), a_token("other", clock)
    assert "kept" == verifier.grant(token).token_id
    write(file, "kept\n")
    clock.ms += 1_000
    with pytest.raises(Unauthenticated, match="taken back"):
        verifier.grant(token)
    assert 7 == verifier.verify(other)
    assert 7 == verifier.verify(a_token(None, clock)), "without an id it cannot be taken back"


def test_every_token_of_ours_has_an_id_of_its_own() -> None:
    clock = SetClock()
    signed = [tokens.sign(KEY, "7", [Role.READ_OWN], clock=clock) for _ in range(2)]
    assert 2 == len({TokenVerifier(KEY, clock).grant(token).token_id for token in signed})


@pytest.mark.parametrize("token_id", [7, ["a"], {"a": "b"}, True])
def test_an_id_that_is_no_text_makes_no_good_token(token_id: object) -> None:
    clock = SetClock()
    claims = jwt.decode(a_token("x", clock), options={"verify_signature": False}) | {"jti": token_id}
    with pytest.raises(Unauthenticated, match="not valid"):
        TokenVerifier(KEY, clock).verify(jwt.encode(claims, KEY))


async def test_who_waits_is_told_once_and_only_of_its_own_token(file: Path) -> None:
    revocations = Revocations(file)
    told: list[str] = []
    done = asyncio.Event()
    endings = [revocations.watch(each, lambda each=each: told.append(each)) for each in ("one", "one", "two")]  # type: ignore[misc]
    endings.append(revocations.watch("one", done.set))
    write(file, "one\n")
    await within_patience(done.wait())
    assert ["one", "one"] == told
    assert {"revoked": 1, "watched": 1} == revocations.statistics()
    for end in endings:
        end()
    assert {"revoked": 1, "watched": 0} == revocations.statistics()
    assert revocations._alarm is None, "nobody waits, so nobody looks"


async def test_who_waits_no_longer_is_not_told(file: Path) -> None:
    revocations = Revocations(file)
    told: list[str] = []
    stay, leave = (revocations.watch("one", lambda name=name: told.append(name)) for name in ("stays", "left"))  # type: ignore[misc]
    leave()
    write(file, "one\n")
    os.utime(file, ns=(1, 1))
    revocations.look()
    assert ["stays"] == told
    stay()
