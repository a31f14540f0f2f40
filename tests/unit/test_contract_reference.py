"""The reference of the contract: made of the contract alone, up to date, with nothing left out or leading nowhere."""

import re
from collections import Counter

import pytest
from evs.v1 import admin_pb2, evs_pb2
from google.protobuf.descriptor import FileDescriptor

from tools import contract_reference as reference

WRITTEN = reference.DOCUMENT.read_text()


def test_the_contracts_reference_is_up_to_date() -> None:
    """After a change of the contract: ``python tools/contract_reference.py``."""
    assert reference.render() == WRITTEN


@pytest.mark.parametrize("file", [evs_pb2.DESCRIPTOR, admin_pb2.DESCRIPTOR], ids=["evs", "admin"])
def test_everything_that_a_caller_may_name_has_its_heading_once(file: FileDescriptor) -> None:
    """Services, methods, messages and enums, as the generated code has them."""
    headings = Counter(re.findall(r"^#+ (\w+)$", WRITTEN, re.MULTILINE))
    methods = [method for service in file.services_by_name.values() for method in service.methods_by_name]
    names = [*file.services_by_name, *methods, *file.message_types_by_name, *file.enum_types_by_name]
    assert dict.fromkeys(names, 1) == {name: headings[name] for name in names}


def test_every_field_and_value_says_what_it_is() -> None:
    """A row ends with words: a part of the contract without a comment would stand here without any."""
    rows = re.findall(r"^\| \d+ `(\w+)` \|(.*)\|$", WRITTEN, re.MULTILINE)
    assert rows
    assert [] == [name for name, row in rows if not row.rpartition(" |")[2].strip()]


def test_every_link_of_the_reference_leads_somewhere() -> None:
    """Within the page to a heading, beyond it to a file."""
    headings = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", WRITTEN, re.MULTILINE)}
    targets = set(re.findall(r"\]\(([^)]+)\)", WRITTEN))
    assert set() == {target for target in targets if target.startswith("#") and target[1:] not in headings}
    files = {target for target in targets if not target.startswith("#")}
    assert set() == {name for name in files if not (reference.DOCUMENT.parent / name).exists()}
