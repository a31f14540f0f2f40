"""Every example runs as it is written, against an EVS as anybody starts it, and shows what it says it shows."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any, cast

import pytest
from evs.v1 import evs_pb2
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from tests.database import DatabaseServer
from tests.e2e import plain_grpcurl
from tests.e2e.exchange_tables import exchange_database
from tests.e2e.processes import Command, serving
from tests.patience import PATIENCE_SECONDS
from tests.web_client import COMPILER, PACKAGE, run_node

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(EXAMPLES.glob("python/*.py"))
TOUR = EXAMPLES / "shell" / "tour.sh"

OPENING_CENTS = 1_000_000
ACCOUNTS = range(1, 9)
"""Each test has its own, so that they may run in any order; the tour has 1 and 2, the README 7 and 8."""

RUN_SECONDS = 4 * PATIENCE_SECONDS
"""A program that starts an interpreter, and does a few calls."""


@pytest.fixture(scope="module")
def address(embedded_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where an EVS serves that has found the exchange's accounts, each with $10,000."""
    with exchange_database(embedded_server) as tables:
        rows = ", ".join(f"({number}, 'g-{number}', {OPENING_CENTS})" for number in ACCOUNTS)
        tables.run(f"INSERT INTO accounts (id, google_id, currency_balance) VALUES {rows}")
        with serving(tables.dsn, tmp_path_factory.mktemp("evs")) as (_, address):
            yield address


def run_example(name: str, *arguments: str) -> str:
    """What a Python example prints; it must end well."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "python" / name, *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert 0 == done.returncode, done.stdout
    return done.stdout


# --- Python ------------------------------------------------------------------------------------------------------


def test_the_exchange_of_the_example_has_its_trade_stored(address: str) -> None:
    """Two legs, a price and a tick; and the buyer has gained ten dollars a share."""
    said = run_example("execution_manager.py", "--server", address, "--buyer", "3", "--seller", "4")
    assert "durable: 4 of 4 events, refused: 0" in said
    assert "$10,100.00, today $100.00" in run_example(
        "follow_account.py", "--server", address, "--account", "3", "--values", "1"
    )


def test_the_service_of_the_example_follows_an_account(address: str) -> None:
    said = run_example("follow_account.py", "--server", address, "--account", "5", "--values", "1")
    assert said.startswith("live\n")
    assert "$10,000.00, today $0.00" in said


def test_the_service_of_the_example_says_that_an_account_is_unknown(address: str) -> None:
    assert "NOT_FOUND" in run_example("follow_account.py", "--server", address, "--account", "999")


def test_the_watcher_of_the_example_sees_every_account(address: str) -> None:
    said = run_example("watch_everyone.py", "--server", address, "--once")
    assert f"{len(ACCOUNTS)} accounts, {len(ACCOUNTS) * OPENING_CENTS} cents" in said


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_every_python_example_says_what_it_takes(program: Path) -> None:
    assert "--server" in run_example(program.name, "--help")


# --- grpcurl -----------------------------------------------------------------------------------------------------


@contextmanager
def tour(address: str, folder: Path) -> Iterator[Command]:
    """The tour, going on until the end of the block; where there is no grpcurl, with one of ours."""
    if shutil.which("grpcurl") is None:
        stand_in = folder / "grpcurl"
        program = shlex.join([sys.executable, plain_grpcurl.__file__])
        stand_in.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        stand_in.chmod(0o755)
    environment = os.environ | {"EVS_SERVER": address, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        # What a library warns of goes elsewhere: standard output is JSON and nothing else.
        ["/bin/sh", "-c", 'exec /bin/sh "$0" 2>"$1"', TOUR, folder / "errors"],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    command = Command(process)
    try:
        yield command
    finally:
        if process.poll() is None:
            process.kill()
        command.wait_for_end()


def answers(said: str) -> list[dict[str, Any]]:
    """The JSON objects of a text, in order."""
    found, decoder = [], json.JSONDecoder()
    while said := said.lstrip():
        answer, end = decoder.raw_decode(said)
        found.append(answer)
        said = said[end:]
    return found


def test_the_tour_shows_the_whole_contract_by_hand(address: str, tmp_path: Path) -> None:
    """A retry is a duplicate, the price is a profit, and every read agrees; the last command goes on for ever."""
    with tour(address, tmp_path) as command:
        command.wait_for(r'"snapshot": true')
        command.kill()
    bought, sold, again, priced, ticked, equity, held, batch, _, earned, ranked, health, *_ = answers(
        complete(command.said)
    )
    assert ({}, {}, {"duplicate": True}, {}) == (bought, sold, again, priced)
    assert ticked["accountsValued"] >= 2
    assert ("1100000", "100000") == (equity["equity"]["totalEquity"], equity["equity"]["dayChange"])
    [position] = held["positions"]
    assert ("600000", equity["version"]) == (position["marketValue"], held["version"])
    assert ["999999999"] == batch["unknownAccountIds"]
    assert ("100000", 10) == (earned["profit"], earned["timeWeightedReturnPercent"])
    assert "1" == ranked["own"]["accountId"]
    assert {"status": "SERVING"} == health


def complete(said: str) -> str:
    """What was said, up to its last whole object: a stream that is ended may have begun another."""
    return said[: said.rindex("\n}") + 2]


DOCUMENTS = sorted([TOUR, ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *EXAMPLES.glob("*.md")])


def commands_in(document: Path) -> list[list[str]]:
    """The grpcurl commands of a document, taken apart as a shell does."""
    text = document.read_text().replace("\\\n", " ")
    found = re.findall(r"^(?:exec )?(grpcurl -(?:[^'\n]|'[^']*')*)", text, re.MULTILINE)
    return [shlex.split(command) for command in found]


def test_every_grpcurl_command_of_the_documents_can_be_sent() -> None:
    """Its method exists, and what it sends is a request of that method."""
    commands = [(document.name, command) for document in DOCUMENTS for command in commands_in(document)]
    assert {"tour.sh", "README.md"} <= {name for name, _ in commands}
    for name, command in commands:
        assert "/" in command[-1], (name, command)
        method = plain_grpcurl.find_method(command[-1])
        text = command[command.index("-d") + 1] if "-d" in command else "{}"
        json_format.Parse(text, GetMessageClass(method.input_type)())


def test_the_tour_leaves_out_nothing_that_can_be_asked_by_hand() -> None:
    """Who adds a method shows how it is called."""
    shown = {command[-1].partition("/")[2] for command in commands_in(TOUR)}
    service = evs_pb2.DESCRIPTOR.services_by_name["EquityValuationService"]
    by_hand = {name for name, method in service.methods_by_name.items() if not method.client_streaming}
    assert {
        "OnCashAdjusted",
        "GetIngestState",
    } == by_hand - shown  # the one is not safe to repeat, the other is a sender's


# --- the README --------------------------------------------------------------------------------------------------


class _Seen(Exception):
    """The first thing that a block has printed."""


def python_blocks() -> list[CodeType]:
    """The README's Python, as it would be typed into ``python -m asyncio``."""
    texts = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return [compile(text, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT) for text in texts]


def _redirected(block: CodeType, address: str) -> CodeType:
    constants = tuple(address if constant == "127.0.0.1:50051" else constant for constant in block.co_consts)
    assert address in constants
    return block.replace(co_consts=constants)


async def test_the_python_of_the_readme_does_what_the_readme_says(address: str) -> None:
    """The first block announces, the second follows; it would go on for ever, and is stopped at its first words."""
    seen: list[tuple[object, ...]] = []

    def show(*words: object) -> None:
        seen.append(words)
        raise _Seen

    announcing, following = python_blocks()
    await cast("Any", eval(_redirected(announcing, address), {}))
    with pytest.raises(_Seen):
        await cast("Any", eval(_redirected(following, address), {"print": show}))
    [(_, total_equity, _)] = seen
    assert OPENING_CENTS + 10 * 25 == total_equity


def test_the_typescript_of_the_readme_is_what_the_client_offers(tmp_path: Path) -> None:
    """As strictly as the client itself is compiled."""
    [text] = re.findall(r"^```ts\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    client = json.dumps(str(PACKAGE / "src" / "index.js"))
    assert text.count('"@evs/client"') == 1
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "readme.ts").write_text(text.replace('"@evs/client"', client) + "export default day.points;\n")
    options = {"extends": str(PACKAGE / "tsconfig.base.json"), "files": ["readme.ts"]}
    (tmp_path / "tsconfig.json").write_text(
        json.dumps(options | {"compilerOptions": {"noEmit": True, "lib": ["ES2022", "DOM"], "rootDir": "/"}})
    )
    compiled = run_node(COMPILER, "-p", tmp_path / "tsconfig.json")
    assert 0 == compiled.returncode, compiled.stdout
