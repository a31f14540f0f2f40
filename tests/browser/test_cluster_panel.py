"""The panel of a cluster: who owns what, what has become of it, and a button; on the page of its demo alone."""

import asyncio
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from subprocess import Popen

import pytest
from evs.v1.admin_pb2 import GetClusterResponse
from playwright.sync_api import expect

from evs_server.bridge.site import Demo
from evs_server.demo.workers import Roll
from tests.browser.conftest import Opener
from tests.browser.screen import Screen
from tests.browser.test_screens import NARROW, SCREENSHOTS, STICKS_OUT, WIDE
from tests.integration.bridge_world import World, a_world
from tests.integration.demo_workers import NOW_MS, SHARDS, ScriptedGateway, cluster, ended_by, owner, some_workers
from tests.patience import PATIENCE_SECONDS

NAMES = ("shard-0", "shard-1", "shard-2")


class ClusterStage:
    """A bridge of a demo on a loop of its own, and behind it a gateway that says of its shards what a test wants."""

    def __init__(self, directory: Path, workers: Mapping[str, Popen[bytes]], demo: Demo) -> None:
        self._directory = directory
        self._demo = demo
        self._stop = asyncio.Event()
        self._opened: Future[tuple[asyncio.AbstractEventLoop, World]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="bridge")
        self._thread.start()
        self.workers = workers
        self.owners = {name: owner(process) for name, process in workers.items()}
        self.show(list(workers))

    @property
    def url(self) -> str:
        """The page's address."""
        return self._world.address

    def show(self, names: Sequence[str], *, later_ms: int = 0) -> None:
        """Have the shards owned by some, in turn."""
        state = cluster([self.owners[name] for name in names], later_ms=later_ms) if names else GetClusterResponse()
        self._run(lambda gateway: setattr(gateway, "state", state))

    def move(self, number: int, name: str, *, later_ms: int) -> None:
        """Have one shard owned by another worker from now on."""

        def change(gateway: ScriptedGateway) -> None:
            gateway.state.time = NOW_MS + later_ms
            shard = gateway.state.shards[number]
            shard.owner, shard.owned_since, shard.heard = self.owners[name], NOW_MS + later_ms, NOW_MS + later_ms

        self._run(change)

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_SECONDS)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._opened.result(PATIENCE_SECONDS)[0]

    @property
    def _world(self) -> World:
        return self._opened.result(PATIENCE_SECONDS)[1]

    def _run(self, change: Callable[[ScriptedGateway], None]) -> None:
        gateway, done = self._world.evs, Future[None]()
        assert isinstance(gateway, ScriptedGateway)

        def on_loop() -> None:
            change(gateway)
            done.set_result(None)

        self._loop.call_soon_threadsafe(on_loop)
        done.result(PATIENCE_SECONDS)

    async def _serve(self) -> None:
        async with a_world(self._directory, ScriptedGateway) as world:
            await world.open_bridge(demo=self._demo)
            self._opened.set_result((asyncio.get_running_loop(), world))
            await self._stop.wait()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ClusterStage]:
    """The demo of a cluster, with three workers that are there to be killed."""
    roll = tmp_path / "workers.json"
    with some_workers(roll, *NAMES) as workers:
        stage = ClusterStage(tmp_path, workers, Demo({7: "Ada", 8: "Grace"}, {}, Roll(roll)))
        yield stage
        stage.close()


@pytest.fixture
def open_screen(stage: ClusterStage, open_screen: Opener) -> Opener:
    """Pages of this stage, gone before it is: one that is still there would ask it in vain, and tell so."""
    assert stage.url
    return open_screen


def owned_by(screen: Screen, mark: str) -> int:
    """How many cells show a mark."""
    return screen.page.locator("#cells span").get_by_text(mark, exact=True).count()


@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light")])
def test_the_panel_shows_who_owns_what(open_screen: Opener, stage: ClusterStage, width: int, theme: str) -> None:
    """In cells with marks, in a table, and in words; nothing is wider than the screen. How it looks is kept."""
    screen = open_screen(stage.url, width=width, theme=theme)
    panel = screen.page.locator("#cluster")
    expect(panel).to_be_visible()
    expect(panel.get_by_role("heading", level=2)).to_have_text("Cluster 3 workers, log at 1,100")
    expect(panel.get_by_role("img")).to_have_accessible_name(
        "65 virtual shards: shard-0 owns 22, shard-1 owns 22, shard-2 owns 21."
    )
    assert [22, 22, 21] == [owned_by(screen, mark) for mark in "012"]
    expect(panel.get_by_role("rowheader")).to_have_text(["0shard-0", "1shard-1", "2shard-2"])
    expect(panel.get_by_role("row", name="shard-2")).to_have_text("2shard-2210 ms1,002902")
    expect(panel.get_by_role("list", name="What has become of shards lately")).to_be_empty()
    assert width == screen.evaluate("document.documentElement.scrollWidth")
    assert [] == screen.evaluate(STICKS_OUT)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    screen.page.screenshot(path=SCREENSHOTS / f"cluster-{width}-{theme}.png", full_page=True)


def test_a_takeover_is_seen_and_told(open_screen: Opener, stage: ClusterStage) -> None:
    """The cells change hands, and one line says from whom, to whom, and how long it took; another account keeps it."""
    screen = open_screen(stage.url)
    line = screen.page.locator("#moves li")
    expect(screen.page.locator("#owners tr")).to_have_count(3)
    mine = [number for number in SHARDS if number % 3 == 2]
    for number in mine[:4]:
        stage.move(number, "shard-0", later_ms=1_800)
    expect(line).to_have_text(re.compile("shard-2 gone: 4 of 21 shards moved to shard-0 in 2.0 s$"))
    for number in mine[4:]:
        stage.move(number, "shard-1", later_ms=3_000)
    expect(line).to_have_text(re.compile("shard-2 gone: 21 shards moved to shard-0 and shard-1 in 3.2 s$"))
    assert [26, 39, 0] == [owned_by(screen, mark) for mark in "012"]
    expect(screen.page.locator("#owners tr")).to_have_count(2)
    screen.page.get_by_label("Account").select_option("Grace")
    screen.expect_live()
    stage.move(2, "shard-2", later_ms=20_000)
    expect(line).to_have_count(2)
    expect(line.first).to_have_text(re.compile("shard-2 came: 1 shard moved to it from shard-0 in 0 ms$"))
    assert "2" == screen.page.locator("#cells span").nth(2).inner_text()


def test_a_worker_that_is_not_heard_shows_before_anybody_takes_over(open_screen: Opener, stage: ClusterStage) -> None:
    screen = open_screen(stage.url)
    expect(screen.page.locator("#cells [data-state=quiet]")).to_have_count(0)
    stage.move(0, "shard-0", later_ms=5_000)
    expect(screen.page.locator("#cells [data-state=quiet]")).to_have_count(64)
    expect(screen.page.get_by_role("row", name="shard-1 (not heard)")).to_be_visible()


def test_the_button_kills_a_worker_by_keyboard_too(open_screen: Opener, stage: ClusterStage) -> None:
    """It says which; once there is none left, it says so, and the panel stays."""
    screen = open_screen(stage.url)
    button, note = screen.page.get_by_role("button", name="Kill a shard"), screen.page.locator("#cluster-note")
    for _ in NAMES:
        button.focus()
        screen.page.keyboard.press("Enter")
        expect(note).to_have_text(re.compile(r"^shard-\d has been killed\.$"))
        expect(button).to_be_enabled()
    assert {-signal.SIGKILL} == {ended_by(process) for process in stage.workers.values()}
    button.click()
    expect(note).to_have_text(re.compile("^No shard was killed."))
    expect(button).to_be_enabled()
    expect(screen.page.locator("#cells span")).to_have_count(len(SHARDS))


def test_there_is_no_panel_where_there_is_no_cluster(open_screen: Opener, tmp_path: Path) -> None:
    """A demo that is one process is asked once, and says so."""
    stage = ClusterStage(tmp_path, {}, Demo({7: "Ada"}, {}))
    try:
        screen, asked = open_screen(stage.url), list[str]()
        screen.expect_live()
        screen.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(str(frame))))
        screen.page.clock.install()
        screen.page.reload()
        screen.expect_live()
        screen.page.clock.run_for(2_000)
        expect(screen.page.locator("#places tr")).not_to_have_count(0)
        screen.page.clock.run_for(10_000)
        expect(screen.page.locator("#cluster")).to_be_hidden()
        screen.close()
    finally:
        stage.close()
    assert 1 == sum("cluster.state" in frame for frame in asked)
