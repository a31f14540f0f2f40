"""The demo of a cluster as one watches it: a shard is killed, the panel tells who takes over, the account moves on."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE_MS, Opener
from tests.e2e.demo_cluster import DemoCluster, demo_cluster

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoCluster]:
    """A demo of our own."""
    with demo_cluster(tmp_path_factory.mktemp("demo")) as demo:
        yield demo
        demo.command.terminate()


def test_a_takeover_can_be_watched(open_screen: Opener, demo: DemoCluster) -> None:
    """Both ways to kill a shard, on the pages of both bridges; each time what it owned finds new owners."""
    screens = [open_screen(page) for page in demo.pages]
    for screen in screens:
        screen.expect_live()
        expect(screen.page.locator("#owners tr")).to_have_count(3)
    killed = demo.kill()
    told = re.compile(rf"{killed} gone: \d+ shards moved to shard-\d")
    for screen in screens:
        expect(screen.page.locator("#moves li").filter(has_text=told).first).to_be_visible()
        seen = screen.attribute(screen.overview, "data-version")
        expect(screen.overview).not_to_have_attribute("data-version", seen)
        screen.expect_live()
    back = re.compile(rf"{killed} (came|takes more): \d+ shards? moved to it from shard-\d")
    for screen in screens:
        expect(screen.page.locator("#moves li").filter(has_text=back).first).to_be_visible(timeout=2 * PATIENCE_MS)
    first = screens[0]
    first.page.get_by_role("button", name="Kill a shard").click()
    note = first.page.locator("#cluster-note")
    expect(note).to_have_text(re.compile(r"^shard-\d has been killed\.$"))
    gone = re.compile(rf"{note.inner_text().split()[0]} gone: \d+ shards? moved to")
    for screen in screens:
        expect(screen.page.locator("#moves li").filter(has_text=gone).first).to_be_visible()
