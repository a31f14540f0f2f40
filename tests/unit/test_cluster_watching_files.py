"""The alert rules of a cluster, their tests and their runbook: of one piece, and as Prometheus wants them."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.unit.test_watching_files import DEPLOY, PROMTOOL

RUNBOOK = DEPLOY.parent / "docs" / "CLUSTER.md"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "cluster.yaml").read_text())["groups"]
    for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_alert_of_a_cluster_leads_to_its_section_and_says_who_is_told(rule: dict[str, Any]) -> None:
    """Whoever is woken finds what to do."""
    name = rule["alert"]
    assert f"docs/CLUSTER.md#{name.lower()}" == rule["annotations"]["runbook_url"]
    section = re.search(rf"^### {name}\n\n(.+?)(?=^##|\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    assert len(section[1].split()) > 20
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_section_of_the_runbook_of_a_cluster_has_its_alert_and_every_alert_is_tried() -> None:
    assert NAMES == re.findall(r"^### (Evs\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    tried = (DEPLOY / "prometheus" / "cluster.test.yaml").read_text()
    assert [] == [name for name in NAMES if name not in tried]


def test_prometheus_reads_the_rules_of_both_ways_of_running() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())["rule_files"]
    assert ["alerts.yaml", "cluster.yaml"] == rules


@pytest.mark.skipif(PROMTOOL is None, reason="promtool, of Debian's package prometheus, is not here")
def test_promtool_finds_that_each_alert_of_a_cluster_fires_when_it_must_and_only_then() -> None:
    assert PROMTOOL is not None
    outcome = subprocess.run(
        [PROMTOOL, "test", "rules", "cluster.test.yaml"],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 0 == outcome.returncode, outcome.stdout + outcome.stderr
