"""From a scenario and a host card to a heart with groups, tasks and programs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from virtsim.core.streams import SplitMix64, Streams
from virtsim.machine.chosen_policy import ChosenPolicy
from virtsim.machine.circumstances import Circumstances
from virtsim.machine.classes import Classes
from virtsim.machine.compiler import GuestCompiler
from virtsim.machine.devices import DRIVER_DOMAIN, GuestDevices, MachineDevices
from virtsim.machine.floors import add_floors
from virtsim.machine.vcpu_scheduling import VcpuScheduling, on_xen
from virtsim.platform.costs import Costs
from virtsim.platform.cpufreq import CpuFreq
from virtsim.platform.host import HostCard
from virtsim.platform.stack import Stack, load_stack, stack_for
from virtsim.scenario.guest import Guest, Limits, VirtualMachine
from virtsim.scenario.scenario import Scenario
from virtsim.scheduling.bandwidth import Bandwidth
from virtsim.scheduling.features import features
from virtsim.scheduling.group import Group
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.settings import Frequencies, Kernel, SchedulingCosts
from virtsim.scheduling.storey import Storey
from virtsim.scheduling.task import Task
from virtsim.scheduling.tower import Tower
from virtsim.scheduling.weight import IDLE_WEIGHT, RESOLUTION_SHIFT, group_load, nice_load
from virtsim.workload.operations import SpinLock
from virtsim.workload.seeds import tick_share
from virtsim.workload.workload import Task as TaskSpec
from virtsim.workload.workload import walk_program


class MachineBuilder:
    """Builds one machine.

    Parameters
    ----------
    scenario : Scenario
        Checked.
    card : HostCard
        The host.
    streams : Streams
        Of the run.
    folder : Path, optional
        Where files of arrivals are looked up.
    phases : int
        Number of the draw of the host's own phases and latencies.
    circumstances : Circumstances, optional
        The phases that are known; the others are drawn.
    chosen : ChosenPolicy, optional
        Who schedules the host's tasks; what card and scenario say if absent.

    Attributes
    ----------
    heart : Heart
        Ready to be advanced.
    groups : dict of str to Group
        By the name of the scenario's group or guest; native guests have none of their own.
    tasks : list of (guest name, process name, Task)
    storeys : dict of str to list of Storey
        The kernels of guests with vCPUs, bottom to top, and of a driver domain that has some.
    tower : Tower or None
        All schedulers, if there are several.
    """

    def __init__(
        self,
        scenario: Scenario,
        card: HostCard,
        streams: Streams,
        folder: Path | None = None,
        phases: int = 0,
        circumstances: Circumstances | None = None,
        chosen: ChosenPolicy | None = None,
    ) -> None:
        self.scenario = scenario
        self.card = card
        self.streams = streams
        self.folder = folder
        self.kernel = _kernel(card)
        self._random = SplitMix64(streams.seed64(f"machine.{phases}", "phases"))
        self.circumstances = circumstances or Circumstances()
        passed_ns = self.circumstances.tick_passed_ns
        if passed_ns is None:
            passed_ns = int(self.kernel.tick_ns * tick_share(streams, phases))
        self.tower: Tower | None = None
        self.storeys: dict[str, list[Storey]] = {}
        self.vcpu_scheduling: VcpuScheduling | None = None
        self._phases = phases
        self.heart: Heart = (Storey if _needs_storeys(scenario) else Heart)(
            card.topology.cpus,
            self.kernel,
            _scheduling_costs(card),
            tick_phase_ns=self.kernel.tick_ns - passed_ns,
            seed=streams.seed64(f"machine.{phases}", "timer latency"),
            layout=_layout(card),
        )
        if card.cpufreq is not None:
            self.heart.govern(_frequencies(card, card.cpufreq))
        everywhere = frozenset(range(card.topology.cpus))
        specs = [
            (task, frozenset(task.cpus or scenario.allowed_cpus(guest) or everywhere))
            for guest in scenario.guests
            if guest.vcpus is None
            for task in guest.workload.tasks
        ]
        #: The scheduling classes of each kernel.
        self.classes = {self.heart: Classes(self.heart, specs, card.kernel.numbers, self._realtime_groups())}
        self.chosen = chosen or ChosenPolicy(None)
        self.allowed = frozenset(scenario.cpus) if scenario.cpus else everywhere
        self.chosen.add_to(self.heart, self.allowed)
        self.groups: dict[str, Group] = {}
        self.tasks: list[tuple[str, str, Task]] = []
        self.devices = MachineDevices(
            self.heart,
            card,
            streams,
            self.allowed,
            scenario.driver_domain,
            partial(self._add_driver_domain, kernels) if (kernels := self._domain_kernels()) else None,
        )
        for group in scenario.groups:
            self._add_group(group, group.name, self.groups.get(group.parent or "", self.heart.root))
        if isinstance(self.heart, Storey):
            guests = scenario.guests if self.chosen.name is None else ()
            self.vcpu_scheduling = VcpuScheduling(self.heart, guests, self.allowed, scenario.driver_domain)
        for number, guest in enumerate(scenario.guests):
            self._add_guest(guest, number)
        self.tasks += self.devices.back_ends
        self._enroll()
        if isinstance(self.heart, Storey):
            self.tower = Tower([self.heart, *(storey for floors in self.storeys.values() for storey in floors)])

    def _enroll(self) -> None:
        """Give the host's tasks, vCPUs among them, to the chosen policy."""
        if self.chosen.policy is None:
            return
        specs = {
            (guest.name, process): spec.nice
            for guest in self.scenario.guests
            for spec in guest.workload.tasks
            for process in spec.process_names
        }
        names = {id(task): (guest, specs.get((guest, process))) for guest, process, task in self.tasks}
        mine = [(*names.get(id(task), (task.name.partition("/")[0], None)), task) for task in self.heart.tasks]
        self.chosen.enroll(self.scenario, [(guest, task, nice) for guest, nice, task in mine])

    @property
    def hearts(self) -> list[Heart]:
        """All schedulers, the host's first."""
        return [self.heart, *(storey for floors in self.storeys.values() for storey in floors)]

    def advance(self, to_ns: int) -> None:
        """Work through everything up to ``to_ns``, or to the end of the last task."""
        if self.tower is None:
            self.heart.advance(to_ns)
        else:
            self.tower.advance(to_ns)

    def _realtime_groups(self) -> int:
        """Container guests with real-time tasks, which divide the time of their class where the kernel groups them."""
        if not self.card.kernel.features.get("RT_GROUP_SCHED", False):
            return 0
        guests = [guest for guest in self.scenario.guests if guest.stack != "native"]
        return sum(any(task.policy in ("fifo", "rr") for task in guest.workload.tasks) for guest in guests)

    def _phase_ns(self, period_ns: int) -> int:
        return int(self._random.uniform() * period_ns)

    def _first_period_ns(self, name: str, period_ns: int) -> int:
        """A period of the first limited group begins with the run, as the real back end arranges it."""
        known_ns = self.circumstances.periods_ns.get(name)
        if known_ns is not None:
            return known_ns
        if any(group.bandwidth is not None for group in self.groups.values()):
            return self._phase_ns(period_ns)
        return 0

    def _add_group(self, limits: Limits, name: str, parent: Group) -> Group:
        cpus = frozenset(limits.cpus) if limits.cpus else (self.allowed & parent.cpus)
        bandwidth = None
        if limits.cpu_max is not None:
            quota_ns, period_ns = limits.cpu_max.quota_ns, limits.cpu_max.period_ns
            phase_ns = self._first_period_ns(name, period_ns)
            bandwidth = Bandwidth(quota_ns, period_ns, limits.cpu_burst, self.kernel.bandwidth_slice_ns, phase_ns)
        group = self.heart.add_group(name, parent, group_load(limits.cpu_weight), cpus, bandwidth)
        self.groups[name] = group
        return group

    def _add_guest(self, guest: Guest, number: int) -> None:
        group = self.groups.get(guest.group or "", self.heart.root)
        if guest.stack != "native":
            group = self._add_group(guest, guest.name, group)
        stack = stack_for(guest)
        costs = Costs(self.card, stack)
        heart = below = self.heart
        threads = group
        if guest.vcpus is not None:
            heart = self._add_floors(guest, stack, group)
            if len(self.storeys[guest.name]) > 1:
                below = self.storeys[guest.name][-2]
                threads = below.root
            group = heart.root
            specs = [(task, frozenset(task.cpus or group.cpus)) for task in guest.workload.tasks]
            self.classes[heart] = Classes(heart, specs, self.card.kernel.numbers, 0)
            if stack.kinds[-1].name == "container":
                group = heart.add_group(f"{guest.name}/container", group, group_load(100), group.cpus)
        compiler = GuestCompiler(
            heart,
            guest.name,
            guest.workload,
            costs,
            self.streams,
            self.scenario.duration,
            self.folder,
            GuestDevices(self.devices, guest.name, threads, costs, below),
        )
        for spec in guest.workload.tasks:
            for process in spec.process_names:
                self._add_task(guest.name, process, spec, group, compiler)

    def _add_floors(self, guest: Guest, stack: Stack, group: Group) -> Storey:
        assert isinstance(self.heart, Storey)
        assert self.vcpu_scheduling is not None
        assert guest.vcpus is not None
        kernels = stack.kernels_on_virtual_cpus()
        admit = self.vcpu_scheduling.member(guest.cpu_weight, guest.cpu_max, guest.vcpus).admit
        phases = self._kernel_phases(guest.name, len(kernels))
        self.storeys[guest.name] = add_floors(
            self.heart, group, guest.name, guest.vcpus, guest.machine, kernels, self.card, phases, admit
        )
        return self.storeys[guest.name][-1]

    def _kernel_phases(self, name: str, levels: int) -> list[int]:
        random = SplitMix64(self.streams.seed64(f"machine.{self._phases}", f"kernels of {name}"))
        return [int(random.uniform() * self.kernel.tick_ns) for _ in range(2 * levels)]

    def _domain_kernels(self) -> list[Stack]:
        """What a driver domain's kernel with vCPUs stands on: the same as that of the first guest with such on Xen."""
        for guest in self.scenario.guests:
            if guest.vcpus is not None and on_xen(stack := stack_for(guest)):
                return stack.kernels_on_virtual_cpus()[:1]
        return []

    def _add_driver_domain(self, kernels: list[Stack], group: Group) -> Storey:
        """A kernel on vCPUs for the driver domain, which the hypervisor schedules beside the guests'."""
        assert isinstance(self.heart, Storey)
        assert self.vcpu_scheduling is not None
        domain = self.scenario.driver_domain
        admit = self.vcpu_scheduling.member(domain.cpu_weight, None, domain.vcpus).admit
        phases = self._kernel_phases(DRIVER_DOMAIN, 1)
        self.storeys[DRIVER_DOMAIN] = add_floors(
            self.heart,
            group,
            DRIVER_DOMAIN,
            domain.vcpus,
            VirtualMachine(),
            kernels,
            self.card,
            phases,
            admit,
        )
        return self.storeys[DRIVER_DOMAIN][0]

    def _add_task(self, guest: str, process: str, spec: TaskSpec, group: Group, compiler: GuestCompiler) -> None:
        heart = compiler.heart
        mine = group.cpus & self.allowed if heart is self.heart else group.cpus
        cpus = frozenset(spec.cpus) if spec.cpus else mine
        idle = spec.policy == "idle"
        asks = spec.slice is not None and heart.kernel.custom_slices
        task = Task(
            f"{guest}/{process}",
            group,
            IDLE_WEIGHT << RESOLUTION_SHIFT if idle else nice_load(spec.nice),
            compiler.compile(spec, process),
            cpus,
            (spec.slice if asks else None) or heart.kernel.base_slice_ns,
            spec.timer_slack,
            custom=asks,
        )
        self.classes[heart].classify(task, spec)
        self.tasks.append((guest, process, task))
        begins = self.circumstances.begin_cpus.get(task.name) if heart is self.heart else None
        if begins in cpus:
            heart.start(task, spec.start, begins, placed=True)
        else:
            heart.start(task, spec.start, min(cpus))


def _needs_storeys(scenario: Scenario) -> bool:
    """Whether there are vCPUs, or spinlocks, which only such kernels know."""
    if any(guest.vcpus is not None for guest in scenario.guests):
        return True
    programs = (task.program for guest in scenario.guests for task in guest.workload.tasks)
    return any(isinstance(operation, SpinLock) for program in programs for _, operation in walk_program(program, ""))


def _kernel(card: HostCard) -> Kernel:
    own, cpus = card.kernel, card.topology.cpus
    return Kernel(
        tick_ns=own.tick_ns,
        base_slice_ns=own.setting_ns("base_slice", cpus),
        bandwidth_slice_ns=own.bandwidth_slice,
        migration_cost_ns=card.timing.ns("migration_cost"),
        scheduler=own.scheduler,
        version=own.numbers,
        features=features(own.scheduler, own.numbers, own.features),
        least_slice_ns=own.least_slice_ns,
        latency_ns=own.setting_ns("latency", cpus),
        min_granularity_ns=own.setting_ns("min_granularity", cpus),
        wakeup_granularity_ns=own.setting_ns("wakeup_granularity", cpus),
    )


def _layout(card: HostCard) -> Layout:
    topology = card.topology
    return Layout.regular(
        topology.cpus,
        topology.threads_per_core,
        topology.cpus_per_cache,
        topology.numa_nodes,
        topology.siblings == "apart",
        tuple(tuple(row) for row in topology.numa_distances),
    )


def _frequencies(card: HostCard, own: CpuFreq) -> Frequencies:
    cpus, layout = range(card.topology.cpus), _layout(card)
    domains = {"core": layout.cores, "cpu": tuple(cpus), "cache": layout.caches, "all": (0,) * len(cpus)}
    return Frequencies(
        own.frequencies[0],
        own.frequencies[-1],
        card.frequency,
        governor=own.governor,
        points_hz=own.frequencies if own.points else (),
        rate_limit_ns=own.rate_limit_ns,
        latency_ns=own.latency_ns,
        domains=domains[own.domain],
    )


def _scheduling_costs(card: HostCard) -> SchedulingCosts:
    """Prices of the scheduler's own doings on the bare host.

    Ticks are not charged: the price of computing was measured with them.
    """
    native = Costs(card, load_stack("native"))
    foreign = card.timing.foreign_share
    smt = card.topology.smt_speed
    return SchedulingCosts(
        switch_ns=native.event_ns("context_switch"),
        wake_ns=native.event_ns("wakeup"),
        wake_remote_ns=native.event_ns("wakeup_remote"),
        idle_exit_ns=card.timing.ns("wakeup_idle_cpu"),
        preempt_remote_ns=card.timing.ns("wakeup_same_cpu"),
        migration_ns=card.timing.ns("migration_same_cache"),
        migration_cache_ns=card.timing.ns("migration_other_cache"),
        migration_node_ns=card.timing.ns("migration_other_node"),
        smt_speed=smt.known("topology.smt_speed") if smt is not None else 1.0,
        balance_ns=card.timing.ns("balance_look"),
        timer_latency_ns=tuple(card.timing.timer_latency_quantiles) or (card.timing.ns("timer_latency"),),
        timer_idle_ns=tuple(card.timing.idle_exit_quantiles) or (card.timing.ns("idle_exit"),),
        cold=card.timing.cold.points if card.timing.cold is not None else (),
        stolen_share=min(foreign.known("timing.foreign_share"), 0.9) if foreign is not None else 0.0,
    )
