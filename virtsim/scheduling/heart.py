"""The machine's heart: CPUs, tasks and timers as a passive state machine in integer nanoseconds.

Nothing runs by itself: :meth:`Heart.advance` works through what is due up to a time. Slices, ticks,
preemptions, throttling, balancing, sleeps, pipes and locks all stay inside; whoever drives the heart is
called back only for what lies outside (:attr:`~virtsim.scheduling.program.Code.EXTERNAL`).

The heart is built up in layers, each a file: :class:`~virtsim.scheduling.hierarchy.Hierarchy` (groups),
:class:`~virtsim.scheduling.dispatcher.Dispatcher` (who runs when), :class:`~virtsim.scheduling.interpreter.Interpreter`
(what tasks do), :class:`~virtsim.scheduling.input_output.InputOutput` (devices), and here the construction and the
event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log1p
from typing import Any

from virtsim.core.streams import SplitMix64
from virtsim.scheduling.bandwidth import Bandwidth
from virtsim.scheduling.cfs import CfsQueue
from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.devices import BackEnd, Port
from virtsim.scheduling.domains import build_domains
from virtsim.scheduling.eevdf import EevdfQueue
from virtsim.scheduling.events import (
    BURST_END,
    CALL,
    DEVICE,
    EXPIRE,
    FREQUENCY,
    HRTICK,
    PERIOD,
    RESCHEDULE,
    SLACK,
    START,
    STEAL,
    TICK,
    TIMER,
)  # fmt: skip
from virtsim.scheduling.fair import Entity, FairQueue
from virtsim.scheduling.governor import Governor
from virtsim.scheduling.group import Group
from virtsim.scheduling.input_output import InputOutput
from virtsim.scheduling.layout import REMOTE, Layout
from virtsim.scheduling.load import LoadAverage
from virtsim.scheduling.program import Code
from virtsim.scheduling.request import RequestQueue
from virtsim.scheduling.settings import Frequencies, Kernel, SchedulingCosts
from virtsim.scheduling.states import FULL_SPEED
from virtsim.scheduling.task import BLOCKED, Task

#: Mean time between two thefts of a CPU, ns.
STEAL_EVERY_NS = 10_000_000


class Heart(InputOutput):
    """CPUs, groups and tasks, advanced in simulated time.

    Parameters
    ----------
    cpus : int
        Number of CPUs.
    kernel : Kernel, optional
        Tunables.
    costs : SchedulingCosts, optional
        What switching, waking and timers cost; nothing if absent.
    tick_phase_ns : int, ns
        Time of the first tick; all CPUs tick together.
    seed : int
        Of the timer latencies' stream.
    layout : Layout, optional
        Which CPUs share what; one last-level cache over all of them if absent.
    """

    __slots__ = ("_steal_rng", "root", "tasks")

    def __init__(
        self,
        cpus: int,
        kernel: Kernel | None = None,
        costs: SchedulingCosts | None = None,
        tick_phase_ns: int = 0,
        seed: int = 0,
        layout: Layout | None = None,
    ) -> None:
        super().__init__(cpus, kernel or Kernel(), costs or SchedulingCosts(), tick_phase_ns, seed)
        layout = layout or Layout.flat(cpus)
        build_domains(self.cpus, layout)
        nodes = range(max(layout.nodes) + 1)
        node_ns = self.costs.migration_node_ns
        self._node_costs = [[node_ns * layout.distance(one, other) // REMOTE for other in nodes] for one in nodes]
        self._smt = any(cpu.cache.smt for cpu in self.cpus)
        self._speeds = _speeds(self.costs.smt_speed, max(len(cpu.siblings) for cpu in self.cpus))
        self.tasks: list[Task] = []
        self._steal_rng = SplitMix64(seed ^ 0x5DEECE66D)
        if self.costs.stolen_share > 0:
            for cpu in self.cpus:
                self.events.push(round(STEAL_EVERY_NS * self._exponential()), STEAL, cpu, 0)
        self.root = self.add_group("", None, 0, frozenset(range(cpus)))

    def govern(self, frequencies: Frequencies) -> None:
        """Let a governor set the CPUs' frequencies, before anything runs; they stay nominal where none does."""
        self.governor = Governor(frequencies, self.cpus, self.kernel, self.events)
        self._governed = self.governor.decides
        for domain in self.governor.domains:
            for cpu in domain.cpus:
                cpu.pace = cpu.speed = frequencies.share(domain.frequency_hz)

    def add_group(
        self, name: str, parent: Group | None, load: int, cpus: frozenset[int], bandwidth: Bandwidth | None = None
    ) -> Group:
        """Make a group under ``parent`` (None only for the root) with a queue on every CPU."""
        group = Group(name, parent, load, cpus, bandwidth)
        if bandwidth is not None:
            self._limited = True
        kernel = self.kernel
        for cpu in self.cpus:
            queue = self._make_queue(cpu, group)
            group.queues.append(queue)
            if parent is None:
                cpu.root = queue
                continue
            entity = Entity(load, kernel.base_slice_ns)
            entity.queue = parent.queues[cpu.number]
            entity.parent = entity.queue.entity
            entity.owned = queue
            queue.entity = entity
            if len(cpus) > 1:
                queue.load_average = LoadAverage(0, 0)
            group.entities.append(entity)
        self.groups.append(group)
        return group

    def _make_queue(self, cpu: Cpu, group: Group) -> FairQueue:
        """A queue of the kernel's fair class."""
        if self.kernel.scheduler == "cfs":
            return CfsQueue(cpu, group, self.kernel, self.costs.switch_ns)
        return EevdfQueue(cpu, group, self.kernel)

    def add_semaphore(self, count: int = 0, wake_at: int = 1) -> int:
        """Make a counting semaphore (a futex channel, a pipe's messages, or its free space).

        Waiters are woken once it has reached ``wake_at``: the writer of a full pipe only when a page is free.
        """
        self.semaphores.append(count)
        self.wake_at.append(wake_at)
        self.waiters.append([])
        return len(self.semaphores) - 1

    def add_lock(self) -> int:
        """Make a free mutex."""
        self.lock_owners.append(None)
        self.lock_waiters.append([])
        return len(self.lock_owners) - 1

    def add_queue(self, queue: RequestQueue) -> int:
        """Add a queue of requests that tasks serve."""
        self.queues.append(queue)
        return len(self.queues) - 1

    def add_port(self, port: Port) -> int:
        """Add an operation of a task on a ring."""
        self.ports.append(port)
        port.ring.driver = self
        if port.answer is not None:
            port.answer.ring.driver = self
        return len(self.ports) - 1

    def add_back_end(self, back_end: BackEnd, task: Task, cpu: int) -> None:
        """Let ``task`` serve rings; it lives as long as others do. Its program is made here."""
        self.back_ends.append(back_end)
        number = len(self.back_ends) - 1
        task.program.emit(Code.TAKE, number)
        task.program.emit(Code.FINISH, number)
        task.program.emit(Code.JUMP, 0)
        back_end.task = task
        back_end.heart = self
        self.start(task, 0, cpu)
        self.live_tasks -= 1

    def start(self, task: Task, at_ns: int, cpu: int, placed: bool = False) -> None:
        """Let a task begin its program at ``at_ns``, on ``cpu`` if it is placed there; if not, it is forked there."""
        task.cpu = cpu
        self._adopt(task)
        self.live_tasks += 1
        self.events.push(at_ns, START, task, int(placed))

    def _adopt(self, task: Task) -> None:
        """Keep a task, and its load where it may move."""
        self.tasks.append(task)
        if len(task.cpus) > 1:
            self.spread = True
            if task.group.parent is not None:
                task.load_average = LoadAverage(0, self.now_ns)

    def call_at(self, at_ns: int, function: Callable[[], None]) -> None:
        """Call a function of the outside at a time."""
        self.events.push(at_ns, CALL, function, 0)

    def next_event_ns(self) -> int | None:
        """When something is due next; None if nothing ever is."""
        return self.events.next_ns()

    def advance(self, to_ns: int) -> None:
        """Work through all events up to and including ``to_ns``, and account running time up to there.

        Stops early, at the time of its end, when the last task ends.
        """
        events = self.events
        while True:
            if not events.pop(to_ns):
                break
            self.now_ns = events.time_ns
            self._serve(events.kind, events.subject, events.version)
            if not self.live_tasks:
                return
        self.now_ns = to_ns
        for cpu in self.cpus:
            if cpu.current is not None:
                self._account(cpu)
                self._follow_burst(cpu, cpu.current)

    def _serve(self, kind: int, subject: Any, version: int) -> None:
        if kind == BURST_END:
            cpu = subject
            if version == cpu.version:
                self._burst_end(cpu)
        elif kind == TIMER:
            task = subject
            if version == task.version and task.state == BLOCKED:
                self.wake(task, task.cpu, True)
        elif kind == TICK:
            self._tick(subject)
        elif kind == RESCHEDULE:
            cpu = subject
            cpu.resched_pending = False
            self._schedule(cpu)
        elif kind == PERIOD:
            self._new_period(subject)
        elif kind == SLACK:
            group = subject
            group.bandwidth.slack_pending = False
            self._release(group)
        elif kind == START:
            self._start(subject, version != 0)
        elif kind == DEVICE:
            self._device(subject, version)
        elif kind == STEAL:
            self._steal_again(subject)
        elif kind == EXPIRE:
            cpu = subject
            if version == cpu.quantum:
                cpu.resched = True
                self._schedule(cpu)
        elif kind == HRTICK:
            self._precise_tick(subject)
        elif kind == FREQUENCY:
            self._set_frequency(subject, version)
        else:
            subject()

    def _steal_again(self, cpu: Cpu) -> None:
        """Take the CPU for a random while, and come back after a random time: a Poisson stream of thefts."""
        share = self.costs.stolen_share
        self.steal(cpu, round(share * STEAL_EVERY_NS * self._exponential()))
        self.events.push(self.now_ns + 1 + round(STEAL_EVERY_NS * self._exponential()), STEAL, cpu, 0)

    def _exponential(self) -> float:
        return -log1p(-self._steal_rng.uniform())


def _speeds(pair: float, threads: int) -> list[int]:
    """Speed of each thread by how many of its core run, from that of two.

    Each further thread is assumed to cost the others as much as the second one does the first.
    """
    loss = 1 / pair - 1
    return [FULL_SPEED] + [round(FULL_SPEED / (1 + (running - 1) * loss)) for running in range(1, threads + 1)]
