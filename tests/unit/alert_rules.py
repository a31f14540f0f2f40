"""The alert rules that are deployed, by file, and what there must be beside each."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
PROMTOOL = shutil.which("promtool")
WITH_PROMTOOL = pytest.mark.skipif(PROMTOOL is None, reason="promtool, of Debian's package prometheus, is not here")


def rules_of(file: str) -> list[dict[str, Any]]:
    """The rules of a file, in order."""
    groups = yaml.safe_load((PROMETHEUS / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def runbook(page: str) -> str:
    """A page of the documentation that says what to do."""
    return (DEPLOY.parent / "docs" / page).read_text()


def is_in_runbook(rule: dict[str, Any], page: str) -> bool:
    """Whether a rule leads to a section of its own, which has something to say."""
    name = rule["alert"]
    section = re.search(rf"^### {name}\n\n(.+?)(?=^##|\Z)", runbook(page), re.MULTILINE | re.DOTALL)
    leads_there = rule["annotations"]["runbook_url"] == f"docs/{page}#{name.lower()}"
    return leads_there and section is not None and len(section[1].split()) > 20


def asked_promtool(*arguments: str) -> tuple[int, str]:
    """How promtool ends, asked about these files, and what it says."""
    assert PROMTOOL is not None
    outcome = subprocess.run(
        [PROMTOOL, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=60
    )
    return outcome.returncode, outcome.stdout + outcome.stderr
