"""The TypeScript client: its own tests, and the package that it makes."""

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.web_client import BUILD_SECONDS, PACKAGE, compile_client, node, run_node


def test_the_typescript_client_passes_its_own_tests(tmp_path: Path) -> None:
    """Frames, connection and client under Node.js, as ``npm test`` runs them."""
    compile_client(tmp_path)
    tests = sorted((tmp_path / "tests").glob("*.test.js"))
    assert {"client.test.js", "connection.test.js", "frames.test.js"} <= {path.name for path in tests}
    tested = run_node("--test", "--test-reporter=tap", *tests)
    assert 0 == tested.returncode, tested.stdout


def test_the_package_holds_what_was_built_and_nothing_else(tmp_path: Path) -> None:
    """Code and types of each source, its README; it loads without anything beside it."""
    program, npm = node()
    copy = tmp_path / "package"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("node_modules", "build", "dist", "dashboard"))
    (copy / "node_modules").symlink_to(PACKAGE / "node_modules")
    packed = subprocess.run(
        [*npm, "pack", "--json", "--offline"],
        cwd=copy,
        env=os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
        text=True,
        capture_output=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert 0 == packed.returncode, packed.stderr
    [archive] = copy.glob("*.tgz")
    with tarfile.open(archive) as files:
        names = {name.removeprefix("package/") for name in files.getnames()}
        files.extractall(tmp_path / "installed", filter="data")
    sources = [path.relative_to(PACKAGE / "src").with_suffix("") for path in (PACKAGE / "src").rglob("*.ts")]
    built = {f"dist/{source.as_posix()}{suffix}" for source in sources for suffix in (".js", ".d.ts")}
    assert {"README.md", "package.json"} | built == names
    entry = tmp_path / "installed" / "package" / "dist" / "index.js"
    loaded = run_node("--input-type=module", "--eval", f"console.log(typeof (await import('{entry}')).createClient)")
    assert "function" == loaded.stdout.strip()
    manifest = json.loads((tmp_path / "installed" / "package" / "package.json").read_text())
    assert "dependencies" not in manifest


def test_the_lock_names_what_is_installed_by_its_hash_and_not_by_its_place() -> None:
    """Whoever installs it does so from a registry of their own."""
    packages = json.loads((PACKAGE / "package-lock.json").read_text())["packages"]
    installed = {name: entry for name, entry in packages.items() if name}
    assert [] == [name for name, entry in installed.items() if "resolved" in entry or "integrity" not in entry]
