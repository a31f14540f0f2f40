"""
The numbers of a bridge, and the counts that its sockets keep for them. Runs on the event loop.

Lives here: names, helps, labels. Not here: how they are served (``telemetry.exposition``). No label names a browser or
an account; close codes are those of ours, and ``other`` for all that browsers think of.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from evs_server.bridge.frames import CloseCode
from evs_server.telemetry.families import counter, counters, gauge

CODES: Final = frozenset(map(int, CloseCode)) | {1000, 1001, 1002, 1005, 1006, 1007, 1009}
"""Close codes that are counted by themselves: those we send, and those that browsers and the library do."""


class Traffic:
    """
    What went over all sockets since the start.

    Attributes:
        opened_count: Sockets let in.
        received_count: Requests.
        sent_count: Frames.
        sent_bytes: Their size, without what TLS and the protocol add.
        closes: Sockets that have ended, by close code.
        refusals: Sockets refused at their handshake: a page from elsewhere, or no room for all or for an address.
    """

    def __init__(self) -> None:
        self.opened_count = 0
        self.received_count = 0
        self.sent_count = 0
        self.sent_bytes = 0
        self.closes: Counter[str] = Counter({str(int(code)): 0 for code in CloseCode})
        self.refusals: Counter[str] = Counter({"origin": 0, "room": 0})

    def count_close(self, code: int | None) -> None:
        """Count a socket that has ended; None if it was cut off."""
        self.closes[str(code) if code in CODES else "other"] += 1


class BridgeCollector(Collector):
    """
    What ``/metrics`` of a bridge shows.

    Args:
        traffic: What its sockets count.
        held: What it holds now, by name, as its ``/healthz`` says.
    """

    def __init__(self, traffic: Traffic, held: Callable[[], Mapping[str, int]]) -> None:
        self._traffic = traffic
        self._held = held

    def collect(self) -> Iterator[Metric]:
        """The numbers of now."""
        traffic, held = self._traffic, self._held()
        yield gauge("evs_bridge_connections", "Sockets that are open.", held["connections"])
        yield gauge("evs_bridge_accounts", "Accounts that are followed at EVS for them.", held["accounts"])
        yield gauge("evs_bridge_stale_accounts", "Those of which EVS cannot be heard at present.", held["stale"])
        yield gauge("evs_bridge_answer_bytes", "What large answers hold until they are taken.", held["answer_bytes"])
        yield counter("evs_bridge_connections_opened_total", "Sockets let in.", traffic.opened_count)
        yield counter("evs_bridge_requests_total", "Requests that browsers sent.", traffic.received_count)
        yield counter("evs_bridge_frames_sent_total", "Frames sent to browsers.", traffic.sent_count)
        yield counter("evs_bridge_sent_bytes_total", "Size of these frames.", traffic.sent_bytes)
        yield counters(
            "evs_bridge_closes_total", "Sockets that have ended, by close code; 4508 was too slow.", ("code",),
            {(code,): count for code, count in traffic.closes.items()},
        )  # fmt: skip
        yield counters(
            "evs_bridge_refused_total", "Sockets refused at their handshake.", ("reason",),
            {(reason,): count for reason, count in traffic.refusals.items()},
        )  # fmt: skip
