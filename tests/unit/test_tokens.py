"""What makes a token good, every way it can be bad, and the key that signs it."""

import base64
import json
import multiprocessing
import time
from pathlib import Path

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evs_server import tokens
from evs_server.config import Settings, load
from evs_server.errors import ConfigError, Unauthenticated
from evs_server.limits import EXACT_MAX
from evs_server.roles import Role
from tests.serving import SetClock

KEY = b"k" * 32
CLAIMS = {"iss": "evs", "aud": "evs", "sub": "7", "iat": int(time.time()), "exp": int(time.time()) + 3_600}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(data_dir=tmp_path / "data")


def signed(key: bytes = KEY, algorithm: str = "HS256", without: str = "", **changes: object) -> str:
    claims = {name: value for name, value in (CLAIMS | changes).items() if name != without}
    return jwt.encode(claims, key, algorithm=algorithm)


def by_hand(header: str, claims: str, signature: bytes = b"") -> str:
    """A token whose parts no library would make."""
    parts = (header.encode(), claims.encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


# --- good tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account_id", [1, 7, EXACT_MAX])
def test_a_token_that_is_issued_is_good_for_its_account(settings: Settings, account_id: int) -> None:
    assert account_id == tokens.TokenVerifier.of(settings).verify(tokens.issue(settings, account_id))


def test_a_grant_says_how_long_it_is_good_for(settings: Settings) -> None:
    class Clock:
        def now_ms(self) -> int:
            return int(time.time()) * 1_000 + 400

        def monotonic(self) -> float:
            return 0.0

    clock = Clock()
    grant = tokens.TokenVerifier.of(settings, clock).grant(tokens.issue(settings, 7, 60, clock=clock))
    assert grant.account_id == 7
    assert 58_000 <= grant.valid_ms <= 60_000


def test_clocks_may_differ_by_the_leeway() -> None:
    now = int(time.time())
    verifier = tokens.TokenVerifier(KEY)
    assert verifier.verify(signed(exp=now - tokens.LEEWAY_S + 5)) == 7
    assert verifier.verify(signed(iat=now + tokens.LEEWAY_S - 5)) == 7


@pytest.mark.parametrize("account_id", [0, -1, EXACT_MAX + 1])
def test_no_token_is_issued_for_what_is_no_account(settings: Settings, account_id: int) -> None:
    with pytest.raises(ValueError, match=str(account_id)):
        tokens.issue(settings, account_id)


# --- bad tokens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="no token"),
        pytest.param("x" * 20_000, id="20 KB"),
        pytest.param(signed() + "x" * tokens.TOKEN_BYTES_MAX, id="longer than the bound"),
        pytest.param(signed(key=b"j" * 32), id="signed with another key"),
        pytest.param(signed(algorithm="HS512", key=b"k" * 64), id="another algorithm"),
        pytest.param(by_hand('{"alg":"none"}', json.dumps(CLAIMS)), id="alg none"),
        pytest.param(by_hand('{"alg":["HS256"]}', json.dumps(CLAIMS)), id="alg a list"),
        pytest.param(by_hand("[" * 2_000, "{}"), id="a header nested deeply"),
        pytest.param(signed()[:-4] + "AAAA", id="another signature"),
        pytest.param(signed(exp=int(time.time()) - 60), id="expired"),
        pytest.param(signed(iat=int(time.time()) + 3_600), id="issued in the future"),
        pytest.param(signed(aud="evt"), id="another audience"),
        pytest.param(signed(iss="evt"), id="another issuer"),
        *(pytest.param(signed(without=claim), id=f"without {claim}") for claim in tokens.CLAIMS),
        pytest.param(signed(exp="soon"), id="an expiry that is no time"),
        *(
            pytest.param(signed(sub=subject), id=f"subject {subject!r}")
            for subject in ("", "0", "-7", "07", " 7", "7.0", "\u0667", "alice", str(EXACT_MAX + 1), "9" * 400)
        ),
    ],
)
def test_a_bad_token_is_refused_without_being_quoted(token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        tokens.TokenVerifier(KEY).verify(token)
    assert caught.value.reason == "UNAUTHENTICATED"
    assert len(token) < 8 or token[:8] not in str(caught.value)


@given(st.text())
def test_any_other_text_is_refused_in_the_same_way(text: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens.TokenVerifier(KEY).verify(text)


@given(st.text(), st.text(), st.binary())
def test_any_three_parts_are_refused_in_the_same_way(header: str, claims: str, signature: bytes) -> None:
    token = by_hand(header.encode(errors="replace").decode(), claims.encode(errors="replace").decode(), signature)
    with pytest.raises(Unauthenticated):
        tokens.TokenVerifier(KEY).verify(token)


def test_a_token_that_is_remembered_ends_when_it_ends() -> None:
    """What was checked once is checked again for its time, each time; and only so many are remembered."""
    clock = SetClock()
    verifier = tokens.TokenVerifier(KEY, clock)
    good = [tokens.sign(KEY, str(account_id), [Role.READ_OWN], 60, clock=clock) for account_id in range(1, 1_100)]
    assert list(range(1, 1_100)) == [verifier.verify(token) for token in good]
    assert tokens.TOKENS_REMEMBERED == len(verifier._good)
    assert [60_000, 59_000] == [left_after(clock, verifier, good[-1], ms) for ms in (0, 1_000)]
    clock.ms += 89_000
    for token in good:
        with pytest.raises(Unauthenticated, match="has expired"):
            verifier.verify(token)
    assert 0 == len(verifier._good)


def left_after(clock: SetClock, verifier: tokens.TokenVerifier, token: str, ms: int) -> int:
    """How long a token is good for, some milliseconds from now."""
    clock.ms += ms
    return verifier.grant(token).valid_ms


@pytest.mark.parametrize(
    ("subject", "roles"),
    [("risk", [Role.READ_ANY]), ("execution-manager", [Role.INGEST, Role.ADMIN]), ("svc@team/evs.1", [Role.ADMIN])],
)
def test_a_program_has_a_name_and_no_account(subject: str, roles: list[Role]) -> None:
    token = tokens.sign(KEY, subject, roles)
    caller = tokens.TokenVerifier(KEY).caller(token)
    assert (subject, None, frozenset(roles)) == (caller.name, caller.account_id, caller.roles)
    with pytest.raises(Unauthenticated, match="gives no account to read"):
        tokens.TokenVerifier(KEY).grant(token)


@pytest.mark.parametrize("subject", ["", "0", "-7", "07", "7up", "a b", "a" * 65, "risk\n", "\u0430dmin"])
def test_no_token_is_signed_for_what_is_neither_an_account_nor_a_name(subject: str) -> None:
    with pytest.raises(ValueError, match="is neither an account"):
        tokens.sign(KEY, subject, [Role.ADMIN])


def test_a_token_that_may_read_nothing_is_no_browsers() -> None:
    """An account's token may be for something else."""
    with pytest.raises(Unauthenticated, match="gives no account to read"):
        tokens.TokenVerifier(KEY).grant(tokens.sign(KEY, "7", [Role.INGEST]))


def test_the_key_is_in_no_repr() -> None:
    assert "kkk" not in repr(tokens.TokenVerifier(KEY))


# --- keys --------------------------------------------------------------------------------------------------------


def test_a_development_key_is_made_once_and_for_its_owner_alone(settings: Settings) -> None:
    first = tokens.read_key(settings)
    assert first == tokens.read_key(settings)
    assert tokens.KEY_BYTES_MIN <= len(first)
    assert oct((settings.data_dir / "jwt.key").stat().st_mode & 0o777) == oct(0o600)
    assert [path.name for path in settings.data_dir.iterdir()] == ["jwt.key"]


def test_two_data_directories_have_different_keys(tmp_path: Path) -> None:
    one, other = (tokens.read_key(load(data_dir=tmp_path / name)) for name in ("one", "other"))
    assert one != other


def test_processes_that_start_at_once_get_the_same_key(settings: Settings) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        keys = pool.map(tokens.read_key, [settings] * 16)
    assert len(set(keys)) == 1


def test_the_operators_key_is_used_without_its_final_newline(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(KEY + b"\n")
    settings = load(data_dir=tmp_path, jwt_secret_file=tmp_path / "secret")
    assert tokens.read_key(settings) == KEY
    assert tokens.TokenVerifier(KEY).verify(tokens.issue(settings, 9)) == 9


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"k" * 31, "31 bytes; at least 32"),
        (b"-----BEGIN PUBLIC KEY-----\n" + b"k" * 64, "PEM"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem) as caught:
        tokens.read_key(load(jwt_secret_file=path))
    assert str(caught.value).startswith(f"EVS_JWT_SECRET_FILE: {path}" if content is None else "EVS_JWT_SECRET_FILE")
