"""Certificates are made once a session: keys take time."""

import functools
from pathlib import Path

import pytest

import tests.property.conftest  # noqa: F401  how long hypothesis searches
from tests.security.secured import Certificates, Secure, secured


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """What an authority has signed."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(tmp_path: Path) -> Secure:
    """Opens an EVS that asks who calls; takes settings."""
    return functools.partial(secured, tmp_path)
