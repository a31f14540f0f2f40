"""The commands as a stranger meets them: help, settings, exit statuses. What a command does is tested in its room."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pytest

from evs_server import config, tokens
from evs_server.cli import COMMANDS
from evs_server.commands.settings import SETTINGS
from evs_server.output import OutputLost, answering
from evs_server.roles import Role

EVS = (sys.executable, "-m", "evs_server.cli")
SECONDS_MAX = 60

NAMES = tuple(command.__name__.replace("_", "-") for command in COMMANDS)


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EVS_")} | extra


def evs(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The outcome of one command."""
    return subprocess.run(
        [*EVS, *arguments],
        env=clean_environment(**(env or {})),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )


def test_help_names_every_command() -> None:
    """A stranger finds out what there is."""
    outcome = evs("--help")
    assert (0, "") == (outcome.returncode, outcome.stderr)
    assert [] == [name for name in NAMES if f"\n  {name} " not in outcome.stdout]


@pytest.mark.parametrize("command", NAMES)
def test_every_command_explains_itself_and_its_settings(command: str) -> None:
    """Each command's help says which variables it reads."""
    outcome = evs(command, "--help")
    assert 0 == outcome.returncode
    assert "Settings: " in outcome.stdout


def test_every_setting_is_one_of_a_commands() -> None:
    """Whoever asks a command which variables it reads is told of each, and of none that there is not."""
    named = {name for command in COMMANDS for name in re.findall(r"EVS_[A-Z_]+", command.__doc__ or "")}
    assert {f"EVS_{name.upper()}" for name in config.Settings.model_fields} == named


def test_help_imports_nothing_that_takes_long() -> None:
    """Help must come at once: no gRPC, no PostgreSQL, no NumPy, no pydantic on the way to it."""
    heavy = "grpc, asyncpg, numpy, pydantic, websockets, google.protobuf"
    code = f"import sys, evs_server.cli; print([n for n in {heavy.split(', ')!r} if n in sys.modules])"
    outcome = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=SECONDS_MAX
    )
    assert "[]\n" == outcome.stdout


def test_help_lists_every_setting_and_no_other() -> None:
    """The list that people read is the one that is checked."""
    listed = {word for word in SETTINGS.split() if word.startswith("EVS_")}
    assert {f"EVS_{name.upper()}" for name in config.Settings.model_fields} == listed


def test_all_problems_with_settings_are_told_at_once(tmp_path: Path) -> None:
    """Nobody should have to start again for each of them."""
    outcome = evs(
        *("token", "--account", "7"),
        env={"EVS_DATA_DIR": str(tmp_path), "EVS_LISTEN": "50051", "EVS_SESSION_TIMEZONE": "Mars/Olympus"},
    )
    assert (2, "") == (outcome.returncode, outcome.stdout)
    lines = outcome.stderr.splitlines()
    assert ["evs: EVS_LISTEN:", "evs: EVS_SESSION_TIMEZONE:"] == [" ".join(line.split()[:2]) for line in lines]
    assert "'50051'" in lines[0]
    assert "'Mars/Olympus'" in lines[1]


def test_a_mistyped_setting_is_warned_of_and_does_no_harm(tmp_path: Path) -> None:
    """Its value may be a secret; the answer is what it would be without it."""
    url = "postgresql://evs:hunter2@db/evs"
    outcome = evs("token", "--account", "7", env={"EVS_DATA_DIR": str(tmp_path), "EVS_DATABSE_URL": url})
    assert (0, 1, 1) == (outcome.returncode, outcome.stdout.count("\n"), outcome.stderr.count("\n"))
    assert " WARNING " in outcome.stderr
    assert "EVS_DATABSE_URL is no setting of EVS, and changes nothing: is EVS_DATABASE_URL meant?" in outcome.stderr
    assert "hunter2" not in outcome.stderr


def test_a_token_is_printed_alone_and_is_good(tmp_path: Path) -> None:
    """What ``evs token`` prints can be handed on as it is."""
    outcome = evs("token", "--account", "7", "--ttl", "60", env={"EVS_DATA_DIR": str(tmp_path)})
    assert (0, "") == (outcome.returncode, outcome.stderr)
    assert outcome.stdout.count("\n") == 1
    settings = config.load(data_dir=tmp_path)
    assert 7 == tokens.TokenVerifier.of(settings).verify(outcome.stdout.strip())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["token --account 7", "--help", "--version", "serve --help"])
def test_an_answer_that_cannot_be_written_is_told(tmp_path: Path, arguments: str, unbuffered: str) -> None:
    """Whoever has sent it to a full disk hears of it in words, and does not take nothing for an answer."""
    with Path("/dev/full").open("w") as full:
        outcome = subprocess.run(
            [*EVS, *arguments.split()],
            env=clean_environment(EVS_DATA_DIR=str(tmp_path), PYTHONUNBUFFERED=unbuffered),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=SECONDS_MAX,
        )
    assert (1, "evs: cannot write to standard output: No space left on device\n") == (
        outcome.returncode, outcome.stderr
    )  # fmt: skip


def test_an_answer_to_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output may be closed from the start."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputLost, match="it is closed"), answering():
        pass


@pytest.mark.parametrize("account", ["0", "-1", "x", str(2**53)])
def test_a_token_for_no_account_is_refused(tmp_path: Path, account: str) -> None:
    """An account id that cannot exist is a mistake of the caller's."""
    outcome = evs("token", f"--account={account}", env={"EVS_DATA_DIR": str(tmp_path)})
    assert (2, "") == (outcome.returncode, outcome.stdout)
    assert "--account" in outcome.stderr


def test_a_programs_token_has_the_roles_it_was_asked_for(tmp_path: Path) -> None:
    """Programs have a name and no account."""
    arguments = ("token", "--name", "risk", "--role", "read:any", "--role", "admin")
    outcome = evs(*arguments, env={"EVS_DATA_DIR": str(tmp_path)})
    assert (0, "") == (outcome.returncode, outcome.stderr)
    caller = tokens.TokenVerifier.of(config.load(data_dir=tmp_path)).caller(outcome.stdout.strip())
    assert ("risk", None) == (caller.name, caller.account_id)
    assert {Role.READ_ANY, Role.ADMIN} == caller.roles


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "give --account or --name"),
        (("--account", "7", "--name", "risk"), "give --account or --name"),
        (("--name", "risk"), "needs at least one --role"),
        (("--name", "risk", "--role", "read:own"), "'risk' has no account of its own"),
        (("--name", "7up", "--role", "admin"), "'7up' is neither an account"),
        (("--name", "a b", "--role", "admin"), "'a b' is neither an account"),
        (("--name", "risk", "--role", "root"), "'root'"),
        (("--name", "7", "--role", "admin"), "--name 7 is a number"),
    ],
)
def test_a_token_that_would_mean_nothing_is_refused(tmp_path: Path, arguments: tuple[str, ...], problem: str) -> None:
    """Each problem is told with the word that is wrong; nothing is printed that could be taken for a token."""
    outcome = evs("token", *arguments, env={"EVS_DATA_DIR": str(tmp_path)})
    assert (2, "") == (outcome.returncode, outcome.stdout)
    assert problem in " ".join(outcome.stderr.split())


def test_a_tokens_id_is_told_apart_from_the_token(tmp_path: Path) -> None:
    """By it the token can be taken back; standard output stays what it is."""
    outcome = evs("token", "--account", "7", "--verbose", env={"EVS_DATA_DIR": str(tmp_path)})
    grant = tokens.TokenVerifier.of(config.load(data_dir=tmp_path)).grant(outcome.stdout.strip())
    assert f"id {grant.token_id}\n" == outcome.stderr


def test_the_version_can_be_asked_for() -> None:
    """Whoever reports something says which one it is."""
    outcome = evs("--version")
    assert (0, "") == (outcome.returncode, outcome.stderr)
    assert f"evs {version('equity-valuation-service')}\n" == outcome.stdout


@pytest.mark.parametrize("host", ["bad host name!", "", "a..b", "https://evs.internal"])
def test_a_certificate_is_for_a_name_that_a_machine_can_have(tmp_path: Path, host: str) -> None:
    outcome = evs("certs", str(tmp_path), "--host", host)
    assert (2, "") == (outcome.returncode, outcome.stdout)
    assert f"{host!r} is neither a name of a machine nor an address" in outcome.stderr


def test_certificates_are_made_and_renewed_by_one_authority(tmp_path: Path) -> None:
    """What is printed are settings; keys are for their owner alone."""
    directory = tmp_path / "certificates"
    first = evs("certs", str(directory), "--client", "execution-manager")
    assert (0, "") == (first.returncode, first.stderr)
    given = dict(line.split("=", 1) for line in first.stdout.splitlines())
    assert {
        "EVS_TLS_CERT_FILE", "EVS_TLS_KEY_FILE", "EVS_TLS_CLIENT_CA_FILE",
        "EVS_SERVER_CA_FILE", "EVS_CLIENT_CERT_FILE", "EVS_CLIENT_KEY_FILE",
    } == set(given)  # fmt: skip
    assert {0o600} == {path.stat().st_mode & 0o777 for path in directory.glob("*-key.pem")}
    authority, server = ((directory / f"{name}.pem").read_bytes() for name in ("ca", "server"))
    again = evs("certs", str(directory), "--host", "evs.internal", "--days", "7")
    assert 0 == again.returncode
    assert authority == (directory / "ca.pem").read_bytes()
    assert server != (directory / "server.pem").read_bytes()


@pytest.mark.parametrize("name", ["ca", "server", "../evil", "a b", ""])
def test_a_clients_name_is_the_name_of_its_files(tmp_path: Path, name: str) -> None:
    """So it must not be another file's."""
    outcome = evs("certs", str(tmp_path), "--client", name)
    assert 2 == outcome.returncode
    assert f"a client cannot be called {name!r}" in outcome.stderr


def test_a_file_that_is_no_tape_ends_with_status_2(tmp_path: Path) -> None:
    """Bad input names the file, and is told from a replay that found a difference."""
    missing = tmp_path / "aig" / "20131007_trade.zip"
    outcome = evs("replay", str(missing))
    assert (2, "") == (outcome.returncode, outcome.stdout)
    assert str(missing) in outcome.stderr


def test_a_second_signal_ends_a_process_that_does_not_stop() -> None:
    """Whoever presses Ctrl-C twice means it."""
    code = (
        "import asyncio\n"
        "from evs_server.stopping import run_until_signal\n"
        "async def body(stop):\n"
        "    print('running', flush=True)\n"
        "    await stop.wait()\n"
        "    print('stopping', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "run_until_signal(body)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "running\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "stopping\n" == process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert 128 + signal.SIGTERM == process.wait(SECONDS_MAX)
