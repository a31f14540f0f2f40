"""The alert rules, their tests, the dashboard and the runbook: of one piece, and as Prometheus wants them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RUNBOOK = DEPLOY.parent / "docs" / "OPERATIONS.md"
PROMTOOL = shutil.which("promtool")

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_alert_leads_to_its_section_of_the_runbook(rule: dict[str, Any]) -> None:
    """Whoever is woken finds what to do."""
    name = rule["alert"]
    assert f"docs/OPERATIONS.md#{name.lower()}" == rule["annotations"]["runbook_url"]
    section = re.search(rf"^### {name}\n\n(.+?)(?=^##|\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    assert len(section[1].split()) > 20


def test_every_section_of_the_runbook_has_its_alert() -> None:
    assert NAMES == re.findall(r"^### (Evs\w+)$", RUNBOOK.read_text(), re.MULTILINE)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_alert_says_who_is_told_and_what_is_wrong(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]


def test_every_alert_is_tried() -> None:
    """The test beside the rules makes each of them fire."""
    tried = (DEPLOY / "prometheus" / "alerts.test.yaml").read_text()
    assert [] == [name for name in NAMES if name not in tried]


def test_every_panel_says_what_it_shows_and_asks_something() -> None:
    panels = json.loads((DEPLOY / "grafana" / "evs.json").read_text())["panels"]
    asking = [panel for panel in panels if panel["type"] != "row"]
    assert len(asking) > 10
    assert [] == [panel["title"] for panel in asking if not all(target["expr"] for target in panel["targets"])]
    places = [tuple(panel["gridPos"][side] for side in "xy") for panel in panels]
    assert len(places) == len(set(places))


@pytest.mark.skipif(PROMTOOL is None, reason="promtool, of Debian's package prometheus, is not here")
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yaml"), ("test", "rules", "alerts.test.yaml")],
    ids=["configuration and rules", "alerts"],
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    """Prometheus reads the files, and each alert fires when it must, and only then."""
    assert PROMTOOL is not None
    outcome = subprocess.run(
        [PROMTOOL, *arguments],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 0 == outcome.returncode, outcome.stdout + outcome.stderr
