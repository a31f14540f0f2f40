"""The alert rules of a cluster, their tests and their runbook: of one piece, and as Prometheus wants them."""

import re
from typing import Any

import pytest
import yaml

from tests.unit.alert_rules import PROMETHEUS, WITH_PROMTOOL, asked_promtool, is_in_runbook, rules_of, runbook

PAGE = "CLUSTER.md"
RULES = rules_of("cluster.yaml")
NAMES = [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_alert_of_a_cluster_leads_to_its_section_and_says_who_is_told(rule: dict[str, Any]) -> None:
    """Whoever is woken finds what to do."""
    assert is_in_runbook(rule, PAGE)
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_section_of_the_runbook_of_a_cluster_has_its_alert_and_every_alert_is_tried() -> None:
    assert NAMES == re.findall(r"^### (Evs\w+)$", runbook(PAGE), re.MULTILINE)
    tried = (PROMETHEUS / "cluster.test.yaml").read_text()
    assert [] == [name for name in NAMES if name not in tried]


def test_prometheus_reads_the_rules_of_both_ways_of_running() -> None:
    rules = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())["rule_files"]
    assert ["alerts.yaml", "cluster.yaml"] == rules


@WITH_PROMTOOL
def test_promtool_finds_that_each_alert_of_a_cluster_fires_when_it_must_and_only_then() -> None:
    status, said = asked_promtool("test", "rules", "cluster.test.yaml")
    assert 0 == status, said
