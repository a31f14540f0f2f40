"""Whether an address can be had, as it is asked before there is a database."""

import socket
from pathlib import Path

import pytest

from evs_server.listener import why_not_free


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:0", None),
        ("localhost:0", None),
        ("0.0.0.0:0", None),
        ("192.0.2.1:0", "cannot be used: Cannot assign requested address"),  # kept for documents
    ],
)
def test_an_address_of_another_machine_cannot_be_had(address: str, reason: str | None) -> None:
    assert reason == why_not_free(address)


def test_a_port_is_taken_as_long_as_somebody_listens_on_it() -> None:
    """Connections of one that has just ended are no obstacle."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert "is taken" == why_not_free(address)
        with socket.create_connection(other.getsockname()) as caller:
            accepted, _ = other.accept()
            accepted.close()
            assert b"" == caller.recv(1)
    assert None is why_not_free(address)


@pytest.mark.parametrize("scheme", ["unix:", "unix://"])
def test_the_file_of_a_socket_that_nobody_listens_on_is_no_obstacle(tmp_path: Path, scheme: str) -> None:
    """One that was killed leaves it behind."""
    path = tmp_path / "evs.sock"
    assert None is why_not_free(f"{scheme}{path}")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        assert ["is taken"] * 3 == [why_not_free(f"{scheme}{path}") for _ in range(3)], "however many wait to be let in"
    assert (True, None) == (path.exists(), why_not_free(f"{scheme}{path}"))
