"""
What the bridge answers to plain HTTP: the page and its files, its health and, in the demo, names and tokens.

Lives here: paths, headers, bodies. Not here: the websocket (``server``), what the page does (``clients/web``, which is
built into ``static/``). The files are read once, at start; nothing a request says is ever made into a path. In the demo
anybody who reaches the bridge may be anybody, which is why it serves loopback alone and only hosts that are its own.
"""

import importlib.resources
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from importlib.resources.abc import Traversable
from typing import Final, Protocol
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Response

PLAIN_TEXT: Final = "text/plain; charset=utf-8"

CONTENT_TYPES: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/vnd.microsoft.icon",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": PLAIN_TEXT,
    "webmanifest": "application/manifest+json",
    "woff2": "font/woff2",
}
"""By a file's ending; one of another kind is served as bytes that no browser runs."""

ASSETS: Final = "/assets/"
"""Files below have a hash of their content in their name: whoever has one has it for good."""

FOR_EVER: Final = "public, max-age=31536000, immutable"
NOT_AT_ALL: Final = "no-store"

NOT_BUILT: Final = b"The bridge serves its websocket at /ws. Its page has not been built: `make web` does that.\n"

PERMISSIONS: Final = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "microphone",
        "payment",
        "usb",
    )
)

IssueToken = Callable[[int], str]


class Workers(Protocol):
    """The workers of a demo that is a cluster."""

    def name_of(self, owner: str) -> str:
        """What the demo calls the owner of a virtual shard that calls itself so; the same if it is none of the demo."""
        ...

    def kill(self) -> str | None:
        """Kill one of them, whichever; its name, or None if none runs."""
        ...


@dataclass(frozen=True, slots=True)
class Demo:
    """
    What the demo tells anybody.

    Attributes:
        accounts: Names by id; anyone gets a token of any of them.
        symbols: The players' names by symbol.
        workers: Those that a browser may watch, and kill; None if the demo is one process.
    """

    accounts: Mapping[int, str]
    symbols: Mapping[int, str]
    workers: Workers | None = None


@dataclass(frozen=True, slots=True)
class _File:
    content_type: str
    content: bytes
    caching: str = NOT_AT_ALL


class Site:
    """
    Everything but the socket.

    Args:
        scheme: ``http``, or ``https`` if it is encrypted.
        hosts: The bridge's own addresses as ``host:port``.
        demo: Names; None outside the demo.
        issue_token: Makes a token for an account; used in the demo alone.
        health: Whether the bridge serves, and its counts.
        folder: Where the built page is; this package's own by default.
    """

    def __init__(
        self,
        scheme: str,
        hosts: Collection[str],
        demo: Demo | None,
        issue_token: IssueToken,
        health: Callable[[], tuple[bool, Mapping[str, int]]],
        folder: Traversable | None = None,
    ) -> None:
        self._hosts = frozenset(hosts)
        self._demo = demo
        self._issue_token = issue_token
        self._health = health
        self._files = _read_files(folder or importlib.resources.files("evs_server.bridge") / "static")
        # For browsers whose 'self' does not cover websockets; a policy has no way to write an IPv6 address.
        sockets = "".join(
            f" {scheme.replace('http', 'ws')}://{host}" for host in sorted(hosts) if not host.startswith("[")
        )
        self._policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
            f"connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def respond(self, method: str, target: str, host: str | None) -> Response:
        """
        The answer to a request.

        Args:
            method: ``GET``, or ``HEAD`` for the same without the body; nothing else is answered.
            target: Path and query as they were asked for.
            host: The ``Host`` header.
        """
        if method not in ("GET", "HEAD"):
            response = self.refuse(HTTPStatus.METHOD_NOT_ALLOWED, f"{method[:16]}: only GET and HEAD are answered")
            response.headers["Allow"] = "GET, HEAD"
            return response
        response = self._get(target, host)
        return response if method == "GET" else replace(response, body=b"")

    def refuse(self, status: HTTPStatus, message: str) -> Response:
        """An answer that only says why not."""
        return self._answer(status, _File(PLAIN_TEXT, f"{message}\n".encode()))

    def _get(self, target: str, host: str | None) -> Response:
        try:
            url = urlsplit(target)
        except ValueError:
            return self.refuse(HTTPStatus.NOT_FOUND, "no such page")
        if url.path in self._files:
            return self._answer(HTTPStatus.OK, self._files[url.path])
        if url.path == "/healthz":
            serving, counts = self._health()
            status = HTTPStatus.OK if serving else HTTPStatus.SERVICE_UNAVAILABLE
            return self._json(status, {"status": "serving" if serving else "draining", **counts})
        if self._demo is not None and url.path.startswith("/demo/"):
            return self._demonstrate(self._demo, url.path, url.query, host)
        return self.refuse(HTTPStatus.NOT_FOUND, "no such page")

    def _demonstrate(self, demo: Demo, path: str, query: str, host: str | None) -> Response:
        # A page elsewhere whose name was made to resolve to loopback still sends its own name here.
        if host not in self._hosts:
            return self.refuse(HTTPStatus.FORBIDDEN, "the demo is served to this machine alone")
        match path:
            case "/demo/accounts":
                return self._names(demo.accounts)
            case "/demo/symbols":
                return self._names(demo.symbols)
            case "/demo/token":
                return self._token(demo, parse_qs(query).get("account", [""])[0])
            case _:
                return self.refuse(HTTPStatus.NOT_FOUND, "no such page")

    def _token(self, demo: Demo, asked: str) -> Response:
        account_id = next((key for key in demo.accounts if str(key) == asked), None)
        if account_id is None:
            return self.refuse(HTTPStatus.NOT_FOUND, "account: expected the id of one of /demo/accounts")
        return self._json(HTTPStatus.OK, {"token": self._issue_token(account_id)})

    def _names(self, names: Mapping[int, str]) -> Response:
        return self._json(HTTPStatus.OK, [{"id": key, "name": name} for key, name in names.items()])

    def _json(self, status: HTTPStatus, value: object) -> Response:
        return self._answer(status, _File("application/json", json.dumps(value).encode()))

    def _answer(self, status: HTTPStatus, file: _File) -> Response:
        headers = Headers(
            {
                "Content-Type": file.content_type,
                "Content-Length": str(len(file.content)),
                "Cache-Control": file.caching,
                "Content-Security-Policy": self._policy,
                "Permissions-Policy": PERMISSIONS,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Connection": "close",
            }
        )
        return Response(status.value, status.phrase, headers, file.content)


def _read_files(folder: Traversable) -> dict[str, _File]:
    """The files of a folder by the path that asks for them; a page that says what is missing if there is none."""
    files = {path: _served(path, file.read_bytes()) for path, file in _walk(folder, "/")}
    files["/"] = files.get("/index.html", _File(PLAIN_TEXT, NOT_BUILT))
    return files


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, f"{path}{entry.name}/")
        else:
            yield f"{path}{entry.name}", entry


def _served(path: str, content: bytes) -> _File:
    ending = path.rpartition("/")[2].rpartition(".")[2]
    content_type = CONTENT_TYPES.get(ending, "application/octet-stream")
    return _File(content_type, content, FOR_EVER if path.startswith(ASSETS) else NOT_AT_ALL)
