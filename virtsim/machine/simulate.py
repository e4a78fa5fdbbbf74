"""Run a scenario in the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from virtsim.core.errors import ModelError, SpecError
from virtsim.core.streams import Streams
from virtsim.machine.builder import MachineBuilder
from virtsim.machine.chosen_policy import Choice, ChosenPolicy
from virtsim.machine.circumstances import Circumstances
from virtsim.machine.recorder import Recorder
from virtsim.platform.host import HostCard, load_host
from virtsim.platform.stack import stack_for
from virtsim.results.run import Run
from virtsim.scenario.scenario import Scenario


def simulate(
    scenario: Scenario,
    *,
    seed: int = 0,
    replication: int = 0,
    phases: int = 0,
    circumstances: Circumstances | None = None,
    timeline: bool = False,
    policy: Choice | None = None,
    host: HostCard | None = None,
    folder: Path | None = None,
) -> Run:
    """Run a scenario in the model.

    Parameters
    ----------
    scenario : Scenario
        What to run.
    seed : int
        Root seed: the same seed gives the same run, in any process.
    replication : int
        Number of the replication; each has streams of its own.
    phases : int
        Number of the draw of what the host does by itself (phases of ticks and bandwidth periods,
        latencies of timers): the programs draw the same with another one, as repeated real runs do.
    circumstances : Circumstances, optional
        Those of the phases that are known, as of a real run (``Circumstances.of``); they are not drawn.
    timeline : bool
        Keep every slice and wake-up (memory grows with them).
    policy : str, class or Policy, optional
        Who schedules the host's tasks and vCPUs instead of what card and scenario say: ``"eevdf"``, ``"cfs"``,
        ``"rr"``, ``"fifo"``, ``"lottery"``, ``"stride"``, ``"credit"``, ``"credit2"``, ``"bvt"``, or a policy of your
        own (its class, or a new object). Tasks that ask for a real-time class of Linux keep it, above the policy.
        Groups and quotas are the fair class's (the first two).
    host : HostCard, optional
        Prices and kernel; the card that the scenario names if absent.
    folder : Path, optional
        Where files of arrivals are looked up.

    Returns
    -------
    Run
        With ``world`` = ``"model"``.

    Raises
    ------
    SpecError
        If the scenario or a card it names is not acceptable, or a CPU is not there; if there is no such policy, or it
        does not know what the scenario asks for.
    ModelError
        If it asks for something that this version does not model.
    """
    if not 0 <= seed < 2**63 or replication < 0 or phases < 0:
        raise SpecError("seed", "seed, replication and phases are whole numbers of at least 0")
    scenario = scenario.checked()
    chosen = ChosenPolicy(policy)
    chosen.check(scenario)
    card = chosen.card(host if host is not None else load_host(scenario.host))
    _check(scenario, card)
    streams = Streams(seed, replication)
    builder = MachineBuilder(scenario, card, streams, folder, phases, circumstances, chosen)
    recorder = Recorder(scenario, builder, timeline)
    builder.advance(int(scenario.duration))  # a plain int: a Duration would be recorded as text
    manifest = _manifest(card, replication, phases)
    if chosen.name is not None:
        manifest["policy"] = chosen.name
    return recorder.run(seed, manifest)


def _check(scenario: Scenario, card: HostCard) -> None:
    for i, guest in enumerate(scenario.guests):
        if guest.vcpus is not None and not stack_for(guest).kernels_on_virtual_cpus():
            raise SpecError(f"guests[{i}].vcpus", f"stack {guest.stack!r} has no virtual CPUs; leave vcpus out")
        for j, task in enumerate(guest.workload.tasks):
            path = f"guests[{i}].workload.tasks[{j}]"
            mine = None if guest.vcpus is not None else task.cpus
            for cpu in mine or scenario.allowed_cpus(guest) or ():
                if cpu >= card.topology.cpus:
                    last = card.topology.cpus - 1
                    where = f"{path}.cpus" if mine else _said_where(scenario, i)
                    raise SpecError(where, f"host {card.name!r} has no CPU {cpu}; its CPUs are 0 to {last}")
    if card.kernel.scheduler not in ("eevdf", "cfs"):
        raise ModelError(
            f"host {card.name!r} schedules by {card.kernel.scheduler!r}, which is not modelled; known: eevdf, cfs. "
            'With a copy of the card with kernel.scheduler = "cfs" that of 2.6.23 stands in, with policy = "cfs" for '
            "virtual CPUs as well"
        )


def _said_where(scenario: Scenario, i: int) -> str:
    """Path of the CPUs that a guest is allowed."""
    if scenario.guests[i].cpus is not None:
        return f"guests[{i}].cpus"
    around = [group for group in scenario.groups_around(scenario.guests[i]) if group.cpus is not None]
    return f"groups[{scenario.groups.index(around[0])}].cpus" if around else "cpus"


def _manifest(card: HostCard, replication: int, phases: int) -> dict[str, Any]:
    from virtsim import __version__

    return {
        "virtsim": __version__,
        "replication": replication,
        "phases": phases,
        "host": {"card": card.name, "kernel": card.kernel.version, "scheduler": card.kernel.scheduler},
    }
