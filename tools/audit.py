"""
Holds the dependencies in ``requirements.lock`` against the known vulnerabilities, as OSV (osv.dev) has them.

``make audit`` wants an answer: status 0 if all is clear, 1 otherwise. ``make check`` runs it with ``--if-reachable``: a
known vulnerability fails the check, and so does whatever nobody expected; only a service that cannot be reached lets it
pass, and says so where nobody can miss it. ``pip-audit`` does the asking; here is what its outcome means.
"""

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "requirements.lock"
SERVICE: Final = "https://api.osv.dev/v1/query"

ANSWER_SECONDS: Final = 5
"""How long one answer may take to begin; without any, all is given up after the library's three repetitions."""

AUDIT_SECONDS: Final = 120
"""How long all may take: a question for each package, a fifth of a second each."""

UNREACHABLE: Final = re.compile(
    r"^(requests\.exceptions\.\w+|pip_audit\._service\.interface\.(Connection|Service)Error|.*Could not connect to)\b",
    re.MULTILINE,
)
"""How pip-audit ends if there is no service, or something else in its place; it has no status of its own for that."""


class Verdict(Enum):
    """What an audit has come to."""

    CLEAR = "no known vulnerability"
    VULNERABLE = "known vulnerabilities"
    UNREACHABLE = "the vulnerability service cannot be reached"
    FAILED = "the audit did not come to its end"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an audit has come to, and the lines that say more."""

    verdict: Verdict
    lines: tuple[str, ...] = ()


def audit(lock: Path, service: str = SERVICE, seconds: float = AUDIT_SECONDS) -> Outcome:
    """
    What is known of the packages that are locked.

    Args:
        lock: Requirements, with hashes.
        service: Where to ask, as OSV answers.
        seconds: When to give up.
    """
    command = [
        *(sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--format", "json"),
        *("--vulnerability-service", "osv", "--osv-url", service, "--timeout", str(ANSWER_SECONDS)),
        *("--require-hashes", "--disable-pip", "--requirement", str(lock)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return Outcome(Verdict.UNREACHABLE, (f"{service} has not answered everything within {seconds:g} s",))
    return judge(done.returncode, done.stdout, done.stderr)


def judge(status: int, stdout: str, stderr: str) -> Outcome:
    """What pip-audit's end means, by its status and what it has written."""
    said = [line for line in stderr.splitlines() if line.strip()]
    if not stdout.strip():
        if UNREACHABLE.search(stderr):
            return Outcome(Verdict.UNREACHABLE, tuple(said[-1:]))
        return Outcome(Verdict.FAILED, (f"pip-audit ended with status {status} and without a result", *said[-5:]))
    packages = json.loads(stdout)["dependencies"]
    vulnerable = tuple(_in_words(package) for package in packages if package.get("vulns"))
    if vulnerable:
        return Outcome(Verdict.VULNERABLE, vulnerable)
    # A package that the service could not be asked about is no package without vulnerabilities.
    skipped = tuple(f"{package['name']}: {package['skip_reason']}" for package in packages if "skip_reason" in package)
    if skipped or status or not packages:
        return Outcome(Verdict.FAILED, skipped or (f"pip-audit ended with status {status}", *said[-5:]))
    return Outcome(Verdict.CLEAR, (f"{len(packages)} packages",))


def _in_words(package: dict[str, object]) -> str:
    found = package["vulns"]
    assert isinstance(found, list)
    each = "; ".join(f"{one['id']}, mended in {', '.join(one['fix_versions']) or 'no version yet'}" for one in found)
    return f"{package['name']} {package['version']}: {each}"


def main() -> None:
    """Audit, say what was found, and end with the status that fits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--if-reachable", action="store_true", help="status 0 if the service cannot be reached")
    parser.add_argument("--service", default=SERVICE, help="where to ask (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=AUDIT_SECONDS, help="when to give up (default: %(default)s)")
    parser.add_argument("--lock", type=Path, default=LOCK, help="requirements with hashes (default: those of EVS)")
    given = parser.parse_args()
    outcome = audit(given.lock, given.service, given.seconds)
    if outcome.verdict is Verdict.UNREACHABLE and given.if_reachable:
        frame = "!" * 100
        print("\n".join([frame, f"dependencies were NOT audited: {outcome.verdict.value}", *outcome.lines, frame]))
        return
    print("\n".join([f"audit: {outcome.verdict.value}", *outcome.lines]))
    if outcome.verdict is not Verdict.CLEAR:
        sys.exit(1)


if __name__ == "__main__":
    main()
