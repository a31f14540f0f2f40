"""
Checks of the contract that linters do not make; run by ``make check`` and by ``tests/unit/test_contract.py``.

1. The committed code under ``proto/gen/python`` is what ``proto/evs/v1/evs.proto`` generates, to the byte.
2. The contract breaks no caller of the last agreed one, kept as a buf image in ``proto/evs.v1.binpb``.

The image is a decision, not a product: ``make contract-baseline`` moves it once a release has made the contract's new
parts a promise. Nothing here writes into the checkout, needs git, or reaches for the network.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATED = Path("proto/gen/python")
BASELINE = Path("proto/evs.v1.binpb")
BUF_SECONDS_MAX = 120


def buf(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """
    The outcome of one buf command, run in ``root`` with the tools that stand beside this interpreter.

    Args:
        arguments: What follows ``buf`` on the command line.
        root: A checkout.

    Raises:
        FileNotFoundError: If buf is not installed beside this interpreter, nor anywhere on the PATH.
    """
    # Not resolved: a virtual environment's interpreter is a link, and its tools stand beside the link.
    beside = Path(sys.executable).parent
    path = f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    executable = beside / "buf"
    return subprocess.run(
        [str(executable) if executable.exists() else "buf", *arguments],
        cwd=root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=BUF_SECONDS_MAX,
    )


def stale_generated_code(root: Path = ROOT) -> list[str]:
    """What is wrong with the committed generated code, one line per file; empty if it is clean."""
    with tempfile.TemporaryDirectory() as folder:
        run = buf("generate", "--output", folder, root=root)
        if run.returncode:
            return [f"buf generate failed: {(run.stderr or run.stdout).strip()}"]
        return _differences(fresh=Path(folder, GENERATED), committed=root / GENERATED)


def _differences(fresh: Path, committed: Path) -> list[str]:
    made = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    kept = {path.relative_to(committed) for path in committed.rglob("*_pb2*.py*") if path.suffix in {".py", ".pyi"}}
    problems = []
    for name in sorted(made | kept):
        shown = GENERATED / name
        if name not in kept:
            problems.append(f"{shown} is missing: run `make gen`")
        elif name not in made:
            problems.append(f"{shown} is no longer generated: delete it")
        elif (fresh / name).read_bytes() != (committed / name).read_bytes():
            problems.append(f"{shown} is not what evs.proto generates: run `make gen`")
    return problems


def broken_promises(root: Path = ROOT) -> list[str]:
    """What would break a caller of the contract in ``BASELINE``, one line each; empty if nothing would."""
    if not (root / BASELINE).exists():
        return [f"{BASELINE} is missing: run `make contract-baseline`"]
    run = buf("breaking", "--against", str(BASELINE), root=root)
    if run.returncode == 0:
        return []
    lines = (run.stdout or run.stderr).strip().splitlines()
    return [*lines, f"(compared with {BASELINE}; if the break is agreed on: `make contract-baseline`)"]


def main() -> int:
    """Print every problem; 1 if there is any."""
    problems = [*stale_generated_code(), *broken_promises()]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("contract: generated code is clean, no promise is broken")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
