"""Small builders of towers: guests on a host, and guests in guests."""

from __future__ import annotations

from dataclasses import dataclass

from tests.scheduling.conftest import MS, add
from tests.scheduling.streams import PAIRS
from tests.scheduling.test_laws import Plan, populate
from virtsim.scheduling.settings import Hypervisor, SchedulingCosts
from virtsim.scheduling.storey import Storey
from virtsim.scheduling.tower import Tower
from virtsim.scheduling.vcpu import Vcpu
from virtsim.scheduling.weight import NICE_0_LOAD

COSTS = SchedulingCosts(
    switch_ns=1500, wake_ns=400, wake_remote_ns=700, idle_exit_ns=9000, preempt_remote_ns=2000, migration_ns=5000
)
PRICED = Hypervisor(halt_ns=2_300, poll_ns=200_000)


def put_on(below: Storey, above: Storey, hypervisor: Hypervisor, pins: list[frozenset[int]], name: str = "g") -> None:
    """Make the CPUs of ``above`` vCPUs of ``below``, each where its pins say."""
    for number, cpus in enumerate(pins):
        slice_ns = below.kernel.base_slice_ns
        vcpu = Vcpu(f"{name}/vcpu{number}", below.root, NICE_0_LOAD, cpus, slice_ns, below, above, number, hypervisor)
        below.add_vcpu(vcpu)


@dataclass(frozen=True)
class Building:
    """Guests side by side, each with other guests in it to some depth; all over-committed."""

    cpus: int
    guests: list[tuple[int, int, list[Plan], list[tuple[str, int, int]]]]
    spinning: str
    fair: bool
    poll_ns: int
    span_ns: int


def build(building: Building) -> Tower:
    """Each guest is (vCPUs, levels below its tasks, plans, pairs of tasks)."""
    hypervisor = Hypervisor(2_300, building.poll_ns, spinning=building.spinning, fair_spinlocks=building.fair)
    ground = Storey(building.cpus, costs=COSTS, tick_phase_ns=345_678)
    storeys = [ground]
    everywhere = frozenset(range(building.cpus))
    for number, (vcpus, levels, plans, pairs) in enumerate(building.guests):
        below, allowed = ground, everywhere
        for level in range(levels):
            phase_ns = 111_111 * (number + 1) + level
            above = Storey(vcpus, costs=COSTS, tick_phase_ns=phase_ns, tick_charge_ns=1_700, timer_charge_ns=900)
            put_on(below, above, hypervisor, [allowed] * vcpus, f"g{number}.{level}")
            storeys.append(above)
            below, allowed = above, frozenset(range(vcpus))
        narrow = [
            Plan(p.kind, p.run_us, p.period_us, p.nice, p.group, frozenset(c % vcpus for c in p.cpus)) for p in plans
        ]
        populate(below, narrow, quota=number == 1)
        for place, (kind, run_ns, group) in enumerate(pairs):
            made = spinners(below, run_ns) if kind == "spin" else PAIRS[kind](below, run_ns)
            for one, program in enumerate(made):
                add(below, f"{kind}{place}.{one}", program, group=below.groups[group])
    return Tower(storeys)


def spinners(storey: Storey, run_ns: int):
    """Three tasks that take one spinlock in turn."""
    from tests.scheduling.streams import _loop
    from virtsim.scheduling.program import Code

    lock = storey.add_spinlock()
    return [
        _loop(
            (Code.SPIN_LOCK, lock, 0),
            (Code.CPU, run_ns // 10 + 1, 0),
            (Code.SPIN_UNLOCK, lock, 0),
            (Code.CPU, 60_000 + run_ns * part, 0),
            (Code.COUNT, 3, 1),
        )
        for part in range(3)
    ]


def ideal(cpus: int, costs: SchedulingCosts) -> tuple[Tower, Storey]:
    """A guest on a hypervisor that costs nothing, its vCPUs pinned to idle CPUs, one each, beside a spare one."""
    ground = Storey(cpus + 1, tick_phase_ns=77)
    guest = Storey(cpus, costs=costs, tick_phase_ns=1_234_567, seed=9)
    put_on(ground, guest, Hypervisor(), [frozenset({number}) for number in range(cpus)])
    return Tower([ground, guest]), guest


__all__ = ["MS", "Building", "build", "ideal", "put_on", "spinners"]
