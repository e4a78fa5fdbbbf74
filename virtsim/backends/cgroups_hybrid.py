"""Hybrid: the controllers are in v1, and an almost empty v2 hierarchy beside them tells the pressure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virtsim.backends import cgroups
from virtsim.backends.cgroups_v1 import CgroupsV1
from virtsim.backends.cgroups_v2 import CgroupsV2


class CgroupsHybrid(CgroupsV1):
    """v1 groups, each with a namesake in v2 that its tasks enter too.

    Parameters
    ----------
    bases : dict of str to Path
        As of :class:`CgroupsV1`.
    unified : Path
        Folder of the base in the v2 hierarchy.
    """

    version = "hybrid"

    def __init__(self, bases: Mapping[str, Path], unified: Path) -> None:
        super().__init__(bases)
        self.unified = CgroupsV2(unified)

    def folders(self, path: str) -> list[Path]:
        """The v1 folders and the v2 folder."""
        return [*super().folders(path), *self.unified.folders(path)]

    def counters(self, path: str) -> dict[str, Path]:
        """v1's, and v2's pressure."""
        return super().counters(path) | self.unified.pressures(path)

    def account(self, before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
        """v1's fields and the pressure."""
        return super().account(before, after) | {"pressure_ns": cgroups.pressure_ns(before, after)}
