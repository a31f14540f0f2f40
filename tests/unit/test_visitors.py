"""Whose connection it is: the peer's, or the one's that trusted proxies name, and nobody's who only says so."""

from ipaddress import ip_network

import pytest

from evs_server.bridge.visitors import counted_as

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("counted", "peer", "forwarded"),
    [
        # Nobody in between.
        ("192.0.2.1", "192.0.2.1", []),
        ("192.0.2.1", "::ffff:192.0.2.1", []),
        ("2001:db8:1:2::/64", "2001:db8:1:2:3:4:5:6", []),
        ("fe80::/64", "fe80::1%eth0", []),
        ("::1", "::1", []),
        ("unknown", "unknown", []),
        # Only a trusted proxy is believed, and only about who called it.
        ("192.0.2.1", "192.0.2.1", ["198.51.100.7"]),
        ("198.51.100.7", "10.1.2.3", ["198.51.100.7"]),
        ("198.51.100.7", "::ffff:10.1.2.3", ["198.51.100.7"]),
        ("198.51.100.7", "fd00::1", ["203.0.113.9, 198.51.100.7"]),
        ("198.51.100.7", "10.1.2.3", ["203.0.113.9", "198.51.100.7,10.9.9.9"]),
        ("2001:db8:1:2::/64", "10.1.2.3", ["2001:db8:1:2::9"]),
        # Proxies alone: the first of them, who is on our side.
        ("10.1.2.3", "10.1.2.3", []),
        ("10.9.9.9", "10.1.2.3", ["10.9.9.9"]),
        # With a port, as some write it.
        ("198.51.100.7", "10.1.2.3", ["198.51.100.7:5678"]),
        ("2001:db8:1:2::/64", "10.1.2.3", ["[2001:db8:1:2::9]:5678"]),
        # What cannot be read counts for the proxy that said it.
        ("10.1.2.3", "10.1.2.3", ["unknown"]),
        ("10.1.2.3", "10.1.2.3", [""]),
        ("10.9.9.9", "10.1.2.3", ["198.51.100.7, _hidden, 10.9.9.9"]),
    ],
)
def test_a_connection_counts_for_the_last_address_that_no_trusted_proxy_has(
    counted: str, peer: str, forwarded: list[str]
) -> None:
    assert counted == counted_as(peer, forwarded, PROXIES)


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert "10.1.2.3" == counted_as("10.1.2.3", ["198.51.100.7"], [])
