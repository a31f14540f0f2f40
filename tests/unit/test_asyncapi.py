"""
The protocol is written three times: as prose, as schemas, as golden frames. Here they are held against each other.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from evs_server.bridge import requests
from evs_server.bridge.frames import CloseCode
from tests.golden_values import GOLDEN

DOCS = Path(__file__).resolve().parents[2] / "docs"
PROSE = (DOCS / "PROTOCOL.md").read_text(encoding="utf-8")
DOCUMENT: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
GOLDEN_NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))

MESSAGE_OF_GOLDEN = {example["name"]: key for key, message in MESSAGES.items() for example in message["examples"]}


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def written(value: object) -> str:
    """A value with its keys in order, and numbers as they stand."""
    return json.dumps(value)


def validator(message: str) -> Draft7Validator:
    return Draft7Validator({**MESSAGES[message]["payload"], "components": DOCUMENT["components"]})


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolved(reference: str) -> Any:
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


# --- the document ------------------------------------------------------------------------------------------------


def test_the_document_is_of_asyncapi_3_and_has_what_that_asks_for() -> None:
    """Its whole structure was held against the specification's own schema; here what changes could break."""
    assert "3.0.0" == DOCUMENT["asyncapi"]
    assert {"title", "version"} <= set(DOCUMENT["info"])
    assert {"asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components"} == set(
        DOCUMENT
    )
    [server] = DOCUMENT["servers"].values()
    assert {"host", "protocol"} <= set(server)
    [channel] = DOCUMENT["channels"].values()
    assert "/ws" == channel["address"]
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert resolved(operation["channel"]["$ref"]) is channel
    for message in MESSAGES.values():
        assert {"name", "title", "summary", "payload", "examples"} == set(message)


def test_whatever_is_referred_to_is_there_and_whatever_is_there_is_referred_to() -> None:
    """Messages are used by the channel, schemas by messages and schemas."""
    used = set(references(DOCUMENT))
    for reference in used:
        assert resolved(reference) is not None
    assert {f"#/components/schemas/{name}" for name in SCHEMAS} <= used
    assert {f"#/components/messages/{name}" for name in MESSAGES} <= used
    [channel] = DOCUMENT["channels"]
    assert {f"#/channels/{channel}/messages/{name}" for name in MESSAGES} <= used


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one(name: str) -> None:
    Draft7Validator.check_schema(SCHEMAS[name])


def test_every_request_is_answered_with_its_result_or_an_error() -> None:
    receiving = {key: one for key, one in DOCUMENT["operations"].items() if one["action"] == "receive"}
    for key, operation in receiving.items():
        [asked] = operation["messages"]
        answer, error = operation["reply"]["messages"]
        method = resolved(resolved(asked["$ref"])["$ref"])["name"]
        assert asked["$ref"].endswith(f"/{key}")
        assert f"Answer to {method}" == resolved(resolved(answer["$ref"])["$ref"])["title"]
        assert error["$ref"].endswith("/error")


# --- golden frames -----------------------------------------------------------------------------------------------


def test_every_golden_frame_is_an_example_and_every_example_is_one() -> None:
    assert GOLDEN_NAMES == sorted(MESSAGE_OF_GOLDEN)
    for message in MESSAGES.values():
        for example in message["examples"]:
            assert written(golden(example["name"])) == written(example["payload"])


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_a_golden_frame_is_of_its_schema_and_of_no_other(name: str) -> None:
    """But for answers that look alike: an empty history and a full one are of one message."""
    accepted = {key for key in MESSAGES if validator(key).is_valid(golden(name))}
    assert MESSAGES[MESSAGE_OF_GOLDEN[name]]["payload"] in [MESSAGES[key]["payload"] for key in accepted]
    assert 1 == len({MESSAGES[key]["payload"]["$ref"] for key in accepted})


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_every_key_of_a_golden_frame_is_described(name: str) -> None:
    """Clients must put up with keys they do not know; the document must not."""
    closed = json.loads(json.dumps(DOCUMENT["components"]))
    for schema in walk(closed["schemas"]):
        if "properties" in schema:
            schema["additionalProperties"] = False
    strict = Draft7Validator({**MESSAGES[MESSAGE_OF_GOLDEN[name]]["payload"], "components": closed})
    assert [] == [error.message for error in strict.iter_errors(golden(name))]


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("readHistory", {"method": "equity.histories"}),
        ("readHistory", {"params": {"range": "2D"}}),
        ("readHistory", {"params": {"range": "1D", "start": 1}}),
        ("readHistory", {"params": {"end": 1}}),
        ("readHistory", {"params": {"limit": 5_001}}),
        ("readLeaderboard", {"params": {"range": "3M"}}),
        ("authenticate", {"params": {}}),
        ("history", {"result": {"resolution": "1m", "points": [{"time": 1}], "next": None}}),
        ("equity", {"version": 2**53}),
        ("equity", {"data": {"account_id": 7}}),
        ("error", {"error": {"code": "X"}}),
        ("stale", {"since": None}),
        ("ping", {"id": None}),
    ],
)
def test_a_schema_refuses_what_is_not_so(message: str, change: dict[str, object]) -> None:
    example = golden(MESSAGES[message]["examples"][0]["name"])
    assert validator(message).is_valid(example)
    assert not validator(message).is_valid(example | change)


def test_the_bounds_of_the_schemas_are_those_of_the_code() -> None:
    history = SCHEMAS["ReadHistory"]["properties"]["params"]["properties"]
    board = SCHEMAS["ReadLeaderboard"]["properties"]["params"]["properties"]
    assert list(requests.RANGES) == SCHEMAS["Range"]["enum"]
    assert list(requests.RANKED_RANGES) == SCHEMAS["RankedRange"]["enum"]
    assert list(requests.RESOLUTIONS) == SCHEMAS["Resolution"]["enum"]
    assert (requests.POINTS_MAX, requests.POINTS_USUAL) == (history["limit"]["maximum"], history["limit"]["default"])
    assert (requests.PLACES_MAX, requests.PLACES_USUAL) == (board["limit"]["maximum"], board["limit"]["default"])
    assert requests.NEXT_CHARACTERS_MAX == history["next"]["maxLength"]
    assert requests.TIME_S_MAX == SCHEMAS["Seconds"]["maximum"]


# --- the prose ---------------------------------------------------------------------------------------------------


def test_the_examples_of_the_prose_are_the_golden_frames() -> None:
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PROSE, re.DOTALL)]
    assert sorted(map(written, map(golden, GOLDEN_NAMES))) == sorted(map(written, shown))


def test_the_prose_has_a_section_for_each_message_and_for_nothing_else() -> None:
    """Answers are told of with their requests."""
    sections = set(re.findall(r"^### (.+)$", PROSE, re.MULTILINE))
    titles = {message["title"] for message in MESSAGES.values()}
    assert {title for title in titles if not title.startswith("Answer to ")} == sections


def test_every_section_says_which_way_its_message_goes() -> None:
    for section in re.split(r"^### ", PROSE, flags=re.MULTILINE)[1:]:
        title, text = section.split("\n", 1)
        assert re.match(r"\s*(Browser → bridge|Bridge → browser)[.;,:]? ", text), title


def test_every_close_code_and_error_code_of_the_bridge_is_explained() -> None:
    for code in CloseCode:
        assert re.search(rf"^\| {code.value} \|", PROSE, re.MULTILINE), code
    for code in SCHEMAS["ErrorAnswer"]["properties"]["error"]["properties"]["code"]["examples"]:
        assert re.search(rf"^\| `{code}` \|", PROSE, re.MULTILINE), code


def test_every_link_within_the_prose_leads_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", PROSE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PROSE)) <= anchors
