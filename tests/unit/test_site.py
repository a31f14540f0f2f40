"""What the bridge answers to plain HTTP: the built page's files, headers, names and health."""

import json
from pathlib import Path

import pytest
from websockets.http11 import Response

from evs_server.bridge.site import CONTENT_TYPES, Demo, Site

HOST = "127.0.0.1:8081"
FILES = {
    "index.html": b"<!doctype html>",
    "favicon.svg": b"<svg/>",
    "assets/index-3f2a.js": b"run()",
    "assets/index-9c1d.css": b"p{}",
    "assets/fonts/plain-77.woff2": b"\x00\x01",
    "assets/odd-1.exotic": b"?",
    ".hidden": b"secret",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A page as it is built."""
    for name, content in FILES.items():
        path = tmp_path / "static" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "static"


def a_site(folder: Path, demo: Demo | None = None, *, serving: bool = True) -> Site:
    return Site(
        "http", [HOST, "[::1]:8081"], demo, lambda account_id: f"token-{account_id}", lambda: (serving, {}), folder
    )


def get(site: Site, path: str, method: str = "GET") -> Response:
    return site.respond(method, path, HOST)


@pytest.mark.parametrize(
    ("path", "name", "content_type", "caching"),
    [
        ("/", "index.html", "text/html; charset=utf-8", "no-store"),
        ("/index.html", "index.html", "text/html; charset=utf-8", "no-store"),
        ("/?theme=dark", "index.html", "text/html; charset=utf-8", "no-store"),
        ("/favicon.svg", "favicon.svg", "image/svg+xml", "no-store"),
        ("/assets/index-3f2a.js", "assets/index-3f2a.js", "text/javascript; charset=utf-8", "immutable"),
        ("/assets/index-9c1d.css", "assets/index-9c1d.css", "text/css; charset=utf-8", "immutable"),
        ("/assets/fonts/plain-77.woff2", "assets/fonts/plain-77.woff2", "font/woff2", "immutable"),
        ("/assets/odd-1.exotic", "assets/odd-1.exotic", "application/octet-stream", "immutable"),
    ],
)
def test_a_file_is_served_as_what_it_is_and_kept_only_if_its_name_changes_with_it(
    folder: Path, path: str, name: str, content_type: str, caching: str
) -> None:
    response = get(a_site(folder), path)
    assert (200, FILES[name]) == (response.status_code, response.body)
    assert content_type == response.headers["Content-Type"]
    assert str(len(FILES[name])) == response.headers["Content-Length"]
    assert response.headers["Cache-Control"].endswith(caching)


@pytest.mark.parametrize(
    "path",
    [
        "/assets",
        "/assets/",
        "/assets/index",
        "/.hidden",
        "/static/index.html",
        "/../static/index.html",
        "/assets/../index.html",
        "/assets/%2e%2e/index.html",
        "/INDEX.HTML",
        "index.html",
        "",
        "//[",
        "/\x00",
    ],
)
def test_what_is_not_a_file_of_the_page_is_not_found(folder: Path, path: str) -> None:
    assert 404 == get(a_site(folder), path).status_code


@pytest.mark.parametrize("path", ["/", "/assets/index-3f2a.js", "/healthz", "/nothing"])
def test_every_answer_forbids_what_no_page_of_ours_needs(folder: Path, path: str) -> None:
    headers = get(a_site(folder), path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert "'none'" == policy.pop("default-src")
    assert f"'self' ws://{HOST}" == policy.pop("connect-src")
    assert {"'self'"} == {policy.pop(kind) for kind in ("script-src", "style-src", "img-src", "font-src")}
    assert {"base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"} == policy
    assert "nosniff" == headers["X-Content-Type-Options"]
    assert "no-referrer" == headers["Referrer-Policy"]
    assert "camera=()" in headers["Permissions-Policy"]


def test_an_encrypted_page_opens_encrypted_sockets(folder: Path) -> None:
    site = Site("https", [HOST], None, str, lambda: (True, {}), folder)
    assert f"connect-src 'self' wss://{HOST};" in get(site, "/").headers["Content-Security-Policy"]


def test_head_has_the_headers_of_get_and_no_body(folder: Path) -> None:
    asked, answered = get(a_site(folder), "/"), get(a_site(folder), "/", "HEAD")
    assert (200, b"") == (answered.status_code, answered.body)
    assert list(asked.headers.raw_items()) == list(answered.headers.raw_items())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", "X" * 9_999])
def test_nothing_else_is_allowed(folder: Path, method: str) -> None:
    response = get(a_site(folder), "/", method)
    assert (405, "GET, HEAD") == (response.status_code, response.headers["Allow"])
    assert len(response.body) < 100


@pytest.mark.parametrize("missing", ["static", "nothing"])
def test_without_a_built_page_a_plain_one_says_how_to_build_it(tmp_path: Path, missing: str) -> None:
    (tmp_path / "static").mkdir()
    response = get(a_site(tmp_path / missing), "/")
    assert (200, "text/plain; charset=utf-8") == (response.status_code, response.headers["Content-Type"])
    assert b"`make web`" in response.body


def test_the_demo_names_accounts_and_players_and_nobody_else_does(folder: Path) -> None:
    demo = Demo({7: "Ada"}, {1: "Milo", 2: "Teo"})
    assert [{"id": 7, "name": "Ada"}] == json.loads(get(a_site(folder, demo), "/demo/accounts").body)
    players = [{"id": 1, "name": "Milo"}, {"id": 2, "name": "Teo"}]
    assert players == json.loads(get(a_site(folder, demo), "/demo/symbols").body)
    assert {"token": "token-7"} == json.loads(get(a_site(folder, demo), "/demo/token?account=7").body)
    for path in ("/demo/accounts", "/demo/symbols", "/demo/token?account=7"):
        assert 404 == get(a_site(folder), path).status_code
        assert 403 == a_site(folder, demo).respond("GET", path, "evil.example").status_code
        assert 403 == a_site(folder, demo).respond("GET", path, None).status_code


@pytest.mark.parametrize(("status", "serving"), [(200, True), (503, False)])
def test_health_says_whether_sockets_are_served(folder: Path, status: int, serving: bool) -> None:
    assert status == get(a_site(folder, serving=serving), "/healthz").status_code


def test_every_kind_of_text_says_how_it_is_encoded() -> None:
    assert all("charset=utf-8" in kind for kind in CONTENT_TYPES.values() if kind.startswith("text/"))
