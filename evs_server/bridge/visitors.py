"""
Whose connection it is, as far as bounds by address go. Pure.

Lives here: what a peer's address and ``X-Forwarded-For`` come to. Not here: the bounds (``policy``), the counts
(``admission``), which proxies are trusted (``config``).

A proxy adds whom it was called by to the right end of ``X-Forwarded-For``. So the list is read from the right, and only
for as long as what stands there is a trusted proxy itself: everything further left is the visitor's own word.
"""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

HOUSEHOLD_BITS: Final = 64
"""Of IPv6 one customer has at least so much of a network to himself: his addresses beyond it are as good as one."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def counted_as(peer: str, forwarded: Sequence[str], trusted: Collection[Network]) -> str:
    """
    The address that a connection counts for.

    Args:
        peer: Address of whoever has connected.
        forwarded: Values of the ``X-Forwarded-For`` headers, in order.
        trusted: Proxies whose word is taken.

    Returns:
        An IPv4 address, an IPv6 network, or the peer as it is where that is no address. What a trusted proxy says and
        nobody can read counts for that proxy.
    """
    address = _address(peer)
    if address is None:
        return peer
    chain = [hop for value in forwarded for hop in value.split(",")]
    while chain and _is_trusted(address, trusted):
        before = _address(_without_port(chain.pop().strip()))
        if before is None:
            break
        address = before
    return _household(address)


def _is_trusted(address: Address, trusted: Collection[Network]) -> bool:
    return any(address in network for network in trusted)


def _household(address: Address) -> str:
    if isinstance(address, IPv4Address) or address.is_loopback:
        return str(address)
    return str(ip_network((int(address), HOUSEHOLD_BITS), strict=False))


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # Who listens on :: sees IPv4 as part of IPv6.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _without_port(hop: str) -> str:
    """An address that some proxies write with a port: ``192.0.2.1:1234``, ``[2001:db8::1]:1234``."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
