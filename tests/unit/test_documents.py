"""What is written for people: nothing that a document points at is missing, and nothing is listed nowhere."""

import re
from collections.abc import Iterator
from pathlib import Path

from evs_server.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]

DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        ROOT / "clients" / "web" / "README.md",
    ]
)

LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)|(?:src|srcset)=\"(?!https?:)([^\"]+)\"")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def prose(document: Path) -> str:
    """A document without its listings."""
    return FENCED.sub("", document.read_text())


def links(document: Path) -> Iterator[tuple[str, str]]:
    """Where a document leads within this tree: a path, and the heading there; either may be empty."""
    for written, shown in LINK.findall(prose(document)):
        path, _, heading = (written or shown).partition("#")
        yield path, heading


def anchors(document: Path) -> set[str]:
    """What the headings of a document are called in links to them."""
    headings = re.findall(r"^#+ (.+?)\s*$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_of_the_documents_leads_to_a_file_and_a_heading() -> None:
    broken = []
    for document in DOCUMENTS:
        for path, heading in links(document):
            target = (document.parent / path).resolve() if path else document
            if not target.exists() or (heading and heading not in anchors(target)):
                broken.append(f"{document.relative_to(ROOT)}: {path}#{heading}")
    assert [] == broken


def test_every_document_can_be_found_from_the_first_page() -> None:
    """What no other page leads to is read by nobody."""
    first = ROOT / "README.md"
    found, looked_at = {first}, set[Path]()
    while unread := {path for path in found - looked_at if path.suffix == ".md"}:
        for document in unread:
            found |= {(document.parent / path).resolve() for path, _ in links(document) if path}
        looked_at |= unread
    assert set() == set(DOCUMENTS) - found


def test_the_first_page_has_every_command() -> None:
    commands = [command.__name__.replace("_", "-") for command in COMMANDS]
    assert len(commands) > 5
    text = (ROOT / "README.md").read_text()
    assert [] == [name for name in commands if f"| `evs {name}" not in text]
