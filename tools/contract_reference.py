"""
Writes ``docs/CONTRACT.md`` from the contract: every method, message, field and value, and what is said of it there.

``python tools/contract_reference.py`` writes it; ``tests/unit/test_contract_reference.py`` fails while it is not up to
date. Nothing is said here that the contract's own comments do not say: read by the compiler, not by patterns.
"""

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from tools.check_contract import ROOT, buf

DOCUMENT: Final = ROOT / "docs" / "CONTRACT.md"
FILES: Final = ("evs/v1/evs.proto", "evs/v1/admin.proto")

HEAD: Final = """\
# The contract

Generated from [`proto/evs/v1`](../proto/evs/v1) by `python tools/contract_reference.py`; do not edit.

How to send so that nothing is lost or counted twice: [SENDERS.md](SENDERS.md). Who may call what:
[SECURITY.md](SECURITY.md). What browsers speak instead: [PROTOCOL.md](PROTOCOL.md). Runnable: [examples](../examples).
"""

# Numbers of the fields of descriptor.proto, of which the place of a comment is made.
_SYNTAX: Final = FileDescriptorProto.SYNTAX_FIELD_NUMBER
_MESSAGE: Final = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
_ENUM: Final = FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER
_SERVICE: Final = FileDescriptorProto.SERVICE_FIELD_NUMBER
_METHOD: Final = ServiceDescriptorProto.METHOD_FIELD_NUMBER
_FIELD: Final = DescriptorProto.FIELD_FIELD_NUMBER
_VALUE: Final = EnumDescriptorProto.VALUE_FIELD_NUMBER


class Comments:
    """
    What stands above each part of one file.

    Args:
        file: Compiled with source info.
        linked: Names that have a heading: where a comment quotes one, it becomes a link.
    """

    def __init__(self, file: FileDescriptorProto, linked: frozenset[str]) -> None:
        self._linked = linked
        self._by_place = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}

    def prose(self, *place: int, within: str = "") -> str:
        """The paragraphs above a part, each on one line; ``within`` is the heading they stand under, never linked."""
        paragraphs = re.split(r"\n\s*\n", self._by_place.get(place, ""))
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        return re.sub(r"`(\w+)`", lambda quoted: self._link(quoted[1], within), text)

    def cell(self, *place: int, within: str = "") -> str:
        """As ``prose``, for a cell of a table."""
        return self.prose(*place, within=within).replace("\n\n", " ").replace("|", "\\|")

    def _link(self, name: str, within: str) -> str:
        return f"`{name}`" if name == within or name not in self._linked else link(name)


def compile_contract() -> list[FileDescriptorProto]:
    """
    The contract's files with their comments, in the order of ``FILES``.

    Raises:
        ValueError: If they do not compile; says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "contract.binpb")
        run = buf("build", "--output", str(image))
        if run.returncode:
            raise ValueError(f"{', '.join(FILES)} do not compile: {(run.stderr or run.stdout).strip()}")
        by_name = {file.name: file for file in FileDescriptorSet.FromString(image.read_bytes()).file}
    return [by_name[name] for name in FILES]


def render() -> str:
    """The whole document."""
    files = compile_contract()
    linked = frozenset(headings(files))
    return "\n".join([HEAD, *(line for file in files for line in _file(file, Comments(file, linked)))])


def headings(files: Sequence[FileDescriptorProto]) -> list[str]:
    """Every name that has a heading of its own, in the document's order."""
    return [
        name
        for file in files
        for name in (
            *(each for service in file.service for each in (service.name, *(method.name for method in service.method))),
            *(message.name for message in file.message_type),
            *(enum.name for enum in file.enum_type),
        )
    ]


def link(name: str) -> str:
    """A name, quoted, that leads to its heading."""
    return f"[`{name}`](#{name.lower()})"


def _file(file: FileDescriptorProto, comments: Comments) -> Iterator[str]:
    yield f"## {file.name}\n\n{comments.prose(_SYNTAX)}\n"
    for number, service in enumerate(file.service):
        yield from _service(file, service, comments, (_SERVICE, number))
    for number, message in enumerate(file.message_type):
        yield from _message(message, comments, (_MESSAGE, number))
    for number, enum in enumerate(file.enum_type):
        yield from _enum(enum, comments, (_ENUM, number))


def _service(
    file: FileDescriptorProto, service: ServiceDescriptorProto, comments: Comments, place: tuple[int, int]
) -> Iterator[str]:
    yield f"### {service.name}\n\n`{file.package}.{service.name}`\n\n{comments.prose(*place)}\n"
    yield "| method | takes | answers |\n|---|---|---|"
    for method in service.method:
        yield f"| {link(method.name)} | {_taken(method)} | {_answered(method)} |"
    for number, method in enumerate(service.method):
        yield f"\n#### {method.name}\n\n{_taken(method)} → {_answered(method)}\n"
        yield comments.prose(*place, _METHOD, number, within=method.name)
    yield ""


def _taken(method: MethodDescriptorProto) -> str:
    return ("a stream of " if method.client_streaming else "") + link(_last(method.input_type))


def _answered(method: MethodDescriptorProto) -> str:
    return ("a stream of " if method.server_streaming else "") + link(_last(method.output_type))


def _message(message: DescriptorProto, comments: Comments, place: tuple[int, int]) -> Iterator[str]:
    yield f"### {message.name}\n\n{comments.prose(*place, within=message.name)}\n"
    if message.field:
        yield "| field | type | |\n|---|---|---|"
    for number, field in enumerate(message.field):
        said = comments.cell(*place, _FIELD, number, within=message.name)
        yield f"| {field.number} `{field.name}` | {_type(message, field)} | {said} |"
    yield ""


def _type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    named = link(_last(field.type_name)) if field.type_name else kind
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {named}"
    if field.proto3_optional:
        return f"optional {named}"
    return f"{named}, one of `{message.oneof_decl[field.oneof_index].name}`" if field.HasField("oneof_index") else named


def _enum(enum: EnumDescriptorProto, comments: Comments, place: tuple[int, int]) -> Iterator[str]:
    yield f"### {enum.name}\n\n{comments.prose(*place)}\n\n| value | |\n|---|---|"
    for number, value in enumerate(enum.value):
        yield f"| {value.number} `{value.name}` | {comments.cell(*place, _VALUE, number)} |"
    yield ""


def _last(name: str) -> str:
    return name.rpartition(".")[2]


if __name__ == "__main__":
    DOCUMENT.write_text(render())
