"""What ``make check`` and ``make audit`` make of pip-audit's outcome: the real one, asking a service of the test's."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from tools.audit import ROOT, Outcome, Verdict, audit, judge

LOCK = "".join(f"{name}==1.0 \\\n    --hash=sha256:{'0' * 64}\n" for name in ("harmless", "wicked"))

VULNERABILITY = {
    "id": "OSV-1",
    "modified": "2024-01-01T00:00:00Z",
    "summary": "It is wicked.",
    "affected": [
        {
            "package": {"name": "wicked", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


@contextmanager
def answering(status: int, known: dict[str, object]) -> Iterator[str]:
    """A service that knows of some packages what is wrong with them."""

    class Osv(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["package"]["name"]
            told = json.dumps({"vulns": [known[asked]]} if asked in known else {}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join(PATIENCE_SECONDS)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    return path


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def checked(lock: Path, service: str, *, option: str = "--if-reachable") -> tuple[int, str]:
    """The status and the words with which ``make check`` would go on."""
    done = subprocess.run(
        [sys.executable, "tools/audit.py", "--lock", str(lock), "--service", service, option],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * PATIENCE_SECONDS,
    )
    assert "" == done.stderr
    return done.returncode, done.stdout


def test_dependencies_without_a_known_vulnerability_pass(lock: Path) -> None:
    with answering(200, {}) as service:
        assert Outcome(Verdict.CLEAR, ("2 packages",)) == audit(lock, service)


def test_a_known_vulnerability_fails_the_check_and_says_what_mends_it(lock: Path) -> None:
    with answering(200, {"wicked": VULNERABILITY}) as service:
        assert (1, "audit: known vulnerabilities\nwicked 1.0: OSV-1, mended in 1.1\n") == checked(lock, service)


def test_a_service_that_nobody_serves_lets_the_check_pass_and_is_told_loudly(lock: Path) -> None:
    with answering(200, {}) as service:
        pass
    status, said = checked(lock, service)
    assert 0 == status
    assert "dependencies were NOT audited: the vulnerability service cannot be reached\n" in said


def test_an_audit_that_is_asked_for_by_itself_fails_without_its_service(lock: Path) -> None:
    with answering(503, {}) as service:
        status, said = checked(lock, service, option="--seconds=600")
    assert (1, "audit: the vulnerability service cannot be reached") == (status, said.splitlines()[0])


def test_a_network_that_drops_packets_costs_no_more_than_the_deadline(lock: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outcome = audit(lock, f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=2)
    assert Verdict.UNREACHABLE is outcome.verdict
    assert "has not answered everything within 2 s" in outcome.lines[0]


def test_requirements_that_cannot_be_read_are_no_reason_to_pass(tmp_path: Path) -> None:
    path = tmp_path / "requirements.lock"
    path.write_text("wicked==1.0\n")
    status, said = checked(path, "http://127.0.0.1:9/")
    assert (1, "audit: the audit did not come to its end") == (status, said.splitlines()[0])


def test_a_package_that_could_not_be_asked_about_is_not_taken_as_clear() -> None:
    found = {"dependencies": [{"name": "ours", "skip_reason": "not found"}, {"name": "theirs", "vulns": []}]}
    assert Outcome(Verdict.FAILED, ("ours: not found",)) == judge(0, json.dumps(found), "")


def test_a_stack_of_another_error_is_no_service_out_of_reach() -> None:
    outcome = judge(1, "", "Traceback (most recent call last):\n  File ...\nKeyError: 'vulns'\n")
    assert Verdict.FAILED is outcome.verdict
    assert "KeyError: 'vulns'" == outcome.lines[-1]
