"""The alert rules, their tests, the dashboard and the runbook: of one piece, and as Prometheus wants them."""

import json
import re
from typing import Any

import pytest

from tests.unit.alert_rules import DEPLOY, WITH_PROMTOOL, asked_promtool, is_in_runbook, rules_of, runbook

PAGE = "OPERATIONS.md"
RULES = rules_of("alerts.yaml")
NAMES = [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_alert_leads_to_its_section_of_the_runbook(rule: dict[str, Any]) -> None:
    """Whoever is woken finds what to do."""
    assert is_in_runbook(rule, PAGE)


def test_every_section_of_the_runbook_has_its_alert() -> None:
    assert NAMES == re.findall(r"^### (Evs\w+)$", runbook(PAGE), re.MULTILINE)


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


@WITH_PROMTOOL
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yaml"), ("test", "rules", "alerts.test.yaml")],
    ids=["configuration and rules", "alerts"],
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    """Prometheus reads the files, and each alert fires when it must, and only then."""
    status, said = asked_promtool(*arguments)
    assert 0 == status, said
