"""Recorded observations: real runs with the host card of their machine, to be replayed anywhere.

A folder of observations holds ``runs.jsonl.gz``, ``host.toml`` (the card that was calibrated on the machine,
for the model's side) and ``manifest.json``. It names the kernel and the processor, not the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from virtsim.core.errors import SpecError
from virtsim.core.spec import dump_toml, encode_json
from virtsim.platform.host import HostCard, load_host
from virtsim.results.manifest import make_manifest
from virtsim.results.run import Run
from virtsim.results.store import load_runs, save_runs
from virtsim.scenario.scenario import Scenario

#: What follows the version in a kernel's release tells who built it, and is nobody's business.
_RELEASE = re.compile(r"(\d+\.\d+(?:\.\d+)?)[-+][\w.+~-]*")


class Observations(NamedTuple):
    """What a folder holds.

    Attributes
    ----------
    runs : list of Run
        In the order in which they were recorded.
    host : HostCard
        Card of the machine they were made on.
    manifest : dict
        How they were made.
    """

    runs: list[Run]
    host: HostCard
    manifest: dict[str, Any]

    def of(self, scenario: Scenario) -> list[Run]:
        """The runs of a scenario.

        Raises
        ------
        SpecError
            If there are none, or they were made from another version of it.
        """
        found = [run for run in self.runs if run.scenario.name == scenario.name]
        if not found:
            raise SpecError(scenario.name, "no run of this scenario was recorded")
        if any(run.scenario.digest != scenario.digest for run in found):
            raise SpecError(scenario.name, "was recorded from another version of the scenario; record it again")
        return found


def save_observations(folder: Path | str, runs: Iterable[Run], host: HostCard) -> None:
    """Write runs and their host's card into ``folder``, which is made where it is missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept = [_publishable(run) for run in runs]
    kernel = host.kernel.replace(version=_RELEASE.sub(r"\1", host.kernel.version))
    card = host.replace(name="recorded", description=_RELEASE.sub(r"\1", host.description), kernel=kernel)
    manifest = make_manifest(host=card.description, runs=[[run.scenario.name, run.digest] for run in kept])
    manifest["platform"]["kernel"] = _RELEASE.sub(r"\1", manifest["platform"]["kernel"])
    del manifest["command"]
    save_runs(folder / "runs.jsonl.gz", kept)
    (folder / "host.toml").write_text(dump_toml(card), encoding="utf-8")
    (folder / "manifest.json").write_bytes(msgspec.json.format(encode_json(manifest)) + b"\n")


def load_observations(folder: Path | str) -> Observations:
    """Read what :func:`save_observations` wrote.

    Raises
    ------
    SpecError
        If a file is missing or damaged, or the runs are not those of the manifest.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as problem:
        raise SpecError(str(path), f"the observations cannot be read: {problem}") from None
    runs = list(load_runs(folder / "runs.jsonl.gz"))
    if [[run.scenario.name, run.digest] for run in runs] != manifest.get("runs"):
        raise SpecError(str(folder), "the runs are not those that the manifest lists")
    return Observations(runs, load_host(folder / "host.toml"), manifest)


def _publishable(run: Run) -> Run:
    """The run with a manifest that tells kernel and processor but not whose they are."""
    kernel = dict(run.manifest.get("kernel", {}))
    kernel.pop("version", None)
    if "release" in kernel:
        kernel["release"] = _RELEASE.sub(r"\1", str(kernel["release"]))
    return msgspec.structs.replace(run, manifest={**run.manifest, "kernel": kernel})
