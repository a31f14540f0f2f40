"""What is deployed: the image, the compose file and the services, as far as a machine without Docker can tell."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from evs_server.config import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CLUSTER = {"nats", "gateway", "shard", "cluster-bridge"}
OURS = ("evs", "bridge", "gateway", "shard", "cluster-bridge")
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
CONFS = sorted((DEPLOY / "systemd").glob("*.conf"))
KNOWN = {f"EVS_{name.upper()}" for name in Settings.model_fields}
EXPOSURE_MAX = 20
"""In tenths, as systemd judges a service: 100 is without any protection."""


def test_the_image_runs_as_nobody_in_particular() -> None:
    """Its last stage ends as a user of its own, with an id, and starts EVS without a shell in between."""
    last_stage = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"useradd --uid \d{5} ", last_stage)
    assert re.search(r"^USER evs$", last_stage, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["evs"\]$', last_stage, re.MULTILINE)
    assert set(re.findall(r"\bEVS_[A-Z_]+", last_stage)) <= KNOWN


def test_everything_that_was_asked_for_runs() -> None:
    assert {"postgres", "evs", "bridge", "prometheus", "grafana"} == set(SERVICES) - CLUSTER
    assert all(["cluster"] == SERVICES[name]["profiles"] for name in CLUSTER), "nobody gets a cluster who did not ask"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_reached_from_this_machine_only_and_restarted_when_it_ends(name: str) -> None:
    """What others are to reach needs certificates, which nobody has yet when they try this."""
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert "unless-stopped" == service["restart"]
    assert service["healthcheck"]["test"], "`up --wait` waits for it"
    assert not service.get("privileged")
    assert "host" not in (service.get("network_mode"), service.get("pid"))


@pytest.mark.parametrize("name", OURS)
def test_ours_can_do_no_more_than_they_must(name: str) -> None:
    service = SERVICES[name]
    assert (True, ["ALL"], ["no-new-privileges:true"]) == (
        service["read_only"],
        service["cap_drop"],
        service["security_opt"],
    )
    assert service["healthcheck"]["test"]
    assert set(service["environment"]) <= KNOWN


def test_no_secret_is_written_in_the_compose_file() -> None:
    """Each comes from a file or from the environment, and is missed loudly."""
    told = {key: value for service in SERVICES.values() for key, value in (service.get("environment") or {}).items()}
    secret = {key: value for key, value in told.items() if re.search("PASSWORD|DATABASE_URL", key)}
    assert len(secret) == 6
    # Null is what is handed on as it is; NATS ends if it is missing.
    told_of = {key: value for key, value in secret.items() if value is not None}
    assert [] == [key for key, value in told_of.items() if not re.search(r"\$\{\w+:\?", value)]
    for name in ("gateway", "shard"):
        url = f"nats://{name}:${{NATS_{name.upper()}_PASSWORD:-}}@nats:4222"
        assert url == SERVICES[name]["environment"]["EVS_NATS_URL"]


@pytest.mark.parametrize("name", [".dockerignore", ".gitignore"])
def test_keys_that_the_documents_have_made_get_into_no_image_and_no_commit(name: str) -> None:
    """Whoever follows them in a checkout has keys beside what is built and committed."""
    left_out = {line.removeprefix("**/").rstrip("/") for line in (DEPLOY.parent / name).read_text().splitlines()}
    secrets = [COMPOSE["secrets"][secret]["file"] for service in OURS for secret in SERVICES[service]["secrets"]]
    assert {f"deploy/{Path(file).parent}" for file in secrets} | {"*.pem", "*.secret", "*.token"} <= left_out


def test_all_volumes_networks_and_files_that_are_named_are_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        assert set(service.get("depends_on", ())) <= set(SERVICES)


def test_prometheus_asks_where_they_listen() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in scrape if "static_configs" in job}
    ports = {
        "evs": SERVICES["evs"]["environment"]["EVS_METRICS_LISTEN"].rpartition(":")[2],
        "evs-bridge": SERVICES["bridge"]["environment"]["EVS_BRIDGE_METRICS_LISTEN"].rpartition(":")[2],
    }
    assert {"evs": [f"evs:{ports['evs']}"], "evs-bridge": [f"bridge:{ports['evs-bridge']}"]} == targets


@pytest.mark.parametrize("name", ["gateway", "shard"])
def test_prometheus_asks_as_many_of_a_cluster_as_there_are(name: str) -> None:
    """And misses none where there is no cluster."""
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    [job] = [job for job in scrape if job["job_name"] == f"evs-{name}"]
    port = int(SERVICES[name]["environment"]["EVS_METRICS_LISTEN"].rpartition(":")[2])
    [asked] = job["dns_sd_configs"]
    assert ([name], "A", port) == (asked["names"], asked["type"], asked["port"])


def test_nats_takes_what_evs_puts_in_and_forgets_nothing_that_it_answered() -> None:
    """Of one server an answer must be on the disk; of three, on two of them."""
    single, three = ((DEPLOY / "nats" / f"{name}.conf").read_text() for name in ("single", "three"))
    assert all(re.search(r"^max_payload: 8MB$", text, re.MULTILINE) for text in (single, three))
    assert re.search(r"^  sync_interval: always$", single, re.MULTILINE)
    assert len(re.findall(r"nats-\d\.internal", three)) == 3
    assert SERVICES["nats"]["command"] == ["--config", "/etc/nats/single.conf"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_names_settings_that_there_are(unit: Path) -> None:
    assert set(re.findall(r"\bEVS_[A-Z_]+", unit.read_text())) <= KNOWN


@pytest.mark.parametrize("conf", CONFS, ids=lambda conf: conf.stem)
def test_what_may_be_added_to_a_unit_names_settings_that_there_are_and_is_told_of(conf: Path) -> None:
    assert set(re.findall(r"\bEVS_[A-Z_]+", conf.read_text())) <= KNOWN
    assert conf.name in (DEPLOY.parent / "docs" / "OPERATIONS.md").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("confs", [(), CONFS], ids=["alone", "with what may be added"])
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
@pytest.mark.parametrize(
    "arguments",
    [("verify", "--man=no"), ("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}")],
    ids=["understood", "hardened"],
)
def test_systemd_finds_nothing_wrong_with_a_unit(
    unit: Path, arguments: tuple[str, ...], confs: list[Path], tmp_path: Path
) -> None:
    """It is understood, and well protected."""
    # Where it will be installed there is nothing yet.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/evs/bin/evs", str(Path(sys.executable).with_name("evs"))))
    added = tmp_path / f"{unit.name}.d"
    added.mkdir()
    for conf in confs:
        shutil.copy(conf, added)
    outcome = subprocess.run(
        ["systemd-analyze", *arguments, copy], capture_output=True, text=True, check=False, timeout=60
    )
    assert (0, "") == (outcome.returncode, outcome.stderr), outcome.stdout
