"""
What the bridge answers to plain HTTP: the page, its files, its health and, in the demo, tokens.

Lives here: paths, headers, bodies. Not here: the websocket (``server``). The files are read once, at start, from this
package; nothing a request says is ever made into a path. In the demo anybody who reaches the bridge may be anybody,
which is why it serves loopback alone and only hosts that are its own.
"""

import importlib.resources
import json
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Response

CONTENT_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}

IssueToken = Callable[[int], str]


class Site:
    """
    Everything but the socket.

    Args:
        hosts: The bridge's own addresses as ``host:port``.
        accounts: Names of the demo's accounts by id; None outside the demo.
        issue_token: Makes a token for an account; used in the demo alone.
        health: Whether the bridge serves, and its counts.
    """

    def __init__(
        self,
        hosts: Collection[str],
        accounts: Mapping[int, str] | None,
        issue_token: IssueToken,
        health: Callable[[], tuple[bool, Mapping[str, int]]],
    ) -> None:
        self._hosts = frozenset(hosts)
        self._accounts = accounts
        self._issue_token = issue_token
        self._health = health
        self._files = _read_files()
        # For browsers whose 'self' does not cover websockets; a policy has no way to write an IPv6 address.
        sockets = " ".join(f"ws://{host}" for host in sorted(hosts) if not host.startswith("["))
        self._policy = (
            f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {sockets}".rstrip()
            + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def respond(self, target: str, host: str | None) -> Response:
        """
        The answer to a GET.

        Args:
            target: Path and query as they were asked for.
            host: The ``Host`` header.
        """
        url = urlsplit(target)
        if url.path in self._files:
            return self._answer(HTTPStatus.OK, *self._files[url.path])
        if url.path == "/healthz":
            serving, counts = self._health()
            status = HTTPStatus.OK if serving else HTTPStatus.SERVICE_UNAVAILABLE
            return self._json(status, {"status": "serving" if serving else "draining", **counts})
        if self._accounts is not None and url.path.startswith("/demo/"):
            return self._demo(self._accounts, url.path, url.query, host)
        return self.refuse(HTTPStatus.NOT_FOUND, "no such page")

    def refuse(self, status: HTTPStatus, message: str) -> Response:
        """An answer that only says why not."""
        return self._answer(status, "text/plain; charset=utf-8", f"{message}\n".encode())

    def _demo(self, accounts: Mapping[int, str], path: str, query: str, host: str | None) -> Response:
        # A page elsewhere whose name was made to resolve to loopback still sends its own name here.
        if host not in self._hosts:
            return self.refuse(HTTPStatus.FORBIDDEN, "the demo is served to this machine alone")
        if path == "/demo/accounts":
            return self._json(HTTPStatus.OK, [{"id": key, "name": name} for key, name in accounts.items()])
        if path != "/demo/token":
            return self.refuse(HTTPStatus.NOT_FOUND, "no such page")
        asked = parse_qs(query).get("account", [""])[0]
        account_id = next((key for key in accounts if str(key) == asked), None)
        if account_id is None:
            return self.refuse(HTTPStatus.NOT_FOUND, "account: expected the id of one of /demo/accounts")
        return self._json(HTTPStatus.OK, {"token": self._issue_token(account_id)})

    def _json(self, status: HTTPStatus, value: object) -> Response:
        return self._answer(status, "application/json", json.dumps(value).encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> Response:
        headers = Headers(
            {
                "Content-Type": content_type,
                "Content-Length": str(len(body)),
                "Content-Security-Policy": self._policy,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Cache-Control": "no-store",
                "Connection": "close",
            }
        )
        return Response(status.value, status.phrase, headers, body)


def _read_files() -> dict[str, tuple[str, bytes]]:
    folder = importlib.resources.files("evs_server.bridge") / "static"
    files = {
        f"/static/{file.name}": (CONTENT_TYPES["." + file.name.rpartition(".")[2]], file.read_bytes())
        for file in folder.iterdir()
    }
    files["/"] = files["/static/index.html"]
    return files
