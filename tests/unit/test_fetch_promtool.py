"""What ``.ci/run`` fetches if it can: where it cannot, nothing fails and nothing is left lying about."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "fetch_promtool.sh"
BASH = shutil.which("bash")
NEEDED = ("dirname", "mkdir", "rm", "timeout")


@pytest.mark.skipif(BASH is None or not all(map(shutil.which, NEEDED)), reason="bash and coreutils are not here")
@pytest.mark.parametrize("tools", [(), ("apt-get", "dpkg")], ids=["no Debian", "no network"])
def test_a_machine_that_cannot_fetch_it_goes_on_without(tmp_path: Path, tools: tuple[str, ...]) -> None:
    """The tests of the rules are skipped then, and that is said."""
    assert BASH is not None
    checkout, path = tmp_path / "checkout", tmp_path / "bin"
    (checkout / "tools").mkdir(parents=True)
    path.mkdir()
    shutil.copy(SCRIPT, checkout / "tools")
    for name in NEEDED:
        (path / name).symlink_to(str(shutil.which(name)))
    for name in tools:
        (path / name).write_text(f"#!{BASH}\nexit 100\n")
        (path / name).chmod(0o755)
    outcome = subprocess.run(
        [BASH, "tools/fetch_promtool.sh"],
        cwd=checkout, env={"PATH": str(path)}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (0, "") == (outcome.returncode, outcome.stderr)
    assert "promtool cannot be fetched here" in outcome.stdout
    assert not (checkout / "build" / "promtool").exists()
