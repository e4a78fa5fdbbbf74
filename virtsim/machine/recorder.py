"""From a machine that has run to a :class:`~virtsim.results.run.Run`."""

from __future__ import annotations

from typing import Any

from virtsim.machine.builder import MachineBuilder
from virtsim.machine.compiler import IO, OPERATION_NAMES, RESPONSE, WAKEUP
from virtsim.machine.records import device_records, frequency_records
from virtsim.results.histogram import Histogram
from virtsim.results.run import (
    GuestRecord,
    LatencyRecord,
    RequestRecord,
    Run,
    Slice,
    TaskRecord,
    Throttle,
    VcpuRecord,
    Wakeup,
)
from virtsim.results.sums import latency_records, sum_times
from virtsim.scenario.scenario import Scenario
from virtsim.scheduling.group import Group
from virtsim.scheduling.program import Code
from virtsim.scheduling.request import MAX_REQUESTS
from virtsim.scheduling.task import BLOCKED, ENDED, Task
from virtsim.scheduling.vcpu_states import BUSY, IDLE, OVERHEAD, STEAL

_LATENCY_KINDS = {WAKEUP: "wakeup_latency", RESPONSE: "response_time", IO: "io_latency"}
#: How a task has left its CPU, by its state; one that could go on is ``R``.
_LEFT = {BLOCKED: "S", ENDED: "X"}


class Recorder:
    """Watches a machine, if a timeline is wanted, and takes its records at the end."""

    def __init__(self, scenario: Scenario, builder: MachineBuilder, timeline: bool) -> None:
        self.scenario = scenario
        self.builder = builder
        self._slices: list[Slice] = []
        self._wakeups: list[Wakeup] = []
        self._throttles: list[Throttle] = []
        self._running: dict[int, tuple[int, Task]] = {}
        if timeline:
            builder.heart.on_switch = self._switch
            builder.heart.on_wakeup = self._wakeup
            builder.heart.on_throttle = self._throttle
        self._timeline = timeline

    def _switch(self, time_ns: int, cpu: int, previous: Task | None, chosen: Task | None) -> None:
        if previous is not None:
            self._close(cpu, time_ns, _LEFT.get(previous.state, "R"))
        if chosen is not None:
            self._running[cpu] = (time_ns, chosen)

    def _close(self, cpu: int, time_ns: int, state: str = "") -> None:
        since_ns, task = self._running.pop(cpu, (time_ns, None))
        if task is not None and time_ns > since_ns:
            guest, _, process = task.name.partition("/")
            self._slices.append(Slice(cpu, since_ns, time_ns, guest, process, state))

    def _wakeup(self, time_ns: int, cpu: int, task: Task) -> None:
        guest, _, process = task.name.partition("/")
        self._wakeups.append(Wakeup(time_ns, cpu, guest, process))

    def _throttle(self, from_ns: int, to_ns: int, cpu: int, group: Group) -> None:
        self._throttles.append(Throttle(cpu, from_ns, to_ns, group.name))

    def _close_throttles(self, now_ns: int) -> None:
        """What is still throttled at the end of the run."""
        for group in self.builder.groups.values():
            for queue in group.bandwidth.throttled if group.bandwidth is not None else ():
                if queue.throttled_at_ns >= 0:
                    self._throttle(queue.throttled_at_ns, now_ns, queue.cpu.number, group)

    def run(self, seed: int, manifest: dict[str, Any]) -> Run:
        """The records of the finished run."""
        heart = self.builder.heart
        for cpu in sorted(self._running):
            self._close(cpu, heart.now_ns)
        if self._timeline:
            self._close_throttles(heart.now_ns)
        latencies, requests = self._latencies()
        tasks = [self._task(guest, process, task) for guest, process, task in self.builder.tasks]
        return Run(
            world="model",
            scenario=self.scenario,
            seed=seed,
            duration_ns=heart.now_ns,
            tasks=tasks,
            guests=sum_times(self.scenario, tasks, self._guests()),
            latencies=latencies + latency_records(self._slices, self._wakeups),
            requests=requests,
            slices=sorted(self._slices, key=lambda piece: (piece.start_ns, piece.cpu)),
            wakeups=self._wakeups,
            throttles=sorted(self._throttles, key=lambda piece: (piece.start_ns, piece.cpu)),
            devices=device_records(self.builder.devices, heart.now_ns) + frequency_records(heart),
            manifest=manifest,
        )

    def _task(self, guest: str, process: str, task: Task) -> TaskRecord:
        ended = task.state == ENDED
        run_ns, wait_ns, throttled_ns, sleep_ns = task.times_ns(self.builder.heart.now_ns)
        return TaskRecord(
            guest=guest,
            task=process,
            start_ns=task.start_ns,
            end_ns=task.end_ns if ended else None,
            outcome="finished" if ended else "stopped",
            cpu_time_ns=task.cpu_time_ns + task.children_ns,
            run_delay_ns=wait_ns + throttled_ns,
            run_time_ns=run_ns,
            wait_time_ns=wait_ns,
            throttled_time_ns=throttled_ns,
            sleep_time_ns=sleep_ns,
            voluntary_switches=task.voluntary,
            involuntary_switches=task.involuntary,
            migrations=task.migrations,
            operations=_operations(task),
        )

    def _guests(self) -> list[GuestRecord]:
        records = []
        for guest in self.scenario.guests:
            if guest.name in self.builder.groups:
                records.append(self._with_vcpus(self._group(self.builder.groups[guest.name])))
            else:
                mine = [task for name, _, task in self.builder.tasks if name == guest.name]
                cpu_time_ns = sum(task.cpu_time_ns + task.children_ns for task in mine)
                records.append(GuestRecord(guest=guest.name, cpu_time_ns=cpu_time_ns))
        if self.builder.devices.driver_domain is not None:
            records.append(self._with_vcpus(self._group(self.builder.devices.driver_domain)))
        records += [self._group(self.builder.groups[group.name]) for group in self.scenario.groups]
        return records

    def _with_vcpus(self, record: GuestRecord) -> GuestRecord:
        """What a virtual machine's CPUs did, as far as the host schedules them."""
        storeys = self.builder.storeys.get(record.guest)
        if storeys is None:
            return record
        record.vcpus = [
            VcpuRecord(
                vcpu=vcpu.name.partition("/")[2],
                busy_time_ns=vcpu.spent_ns[BUSY],
                overhead_time_ns=vcpu.spent_ns[OVERHEAD],
                steal_time_ns=vcpu.spent_ns[STEAL],
                idle_time_ns=vcpu.spent_ns[IDLE],
                halts=vcpu.halts,
            )
            for vcpu in storeys[0].vcpus
        ]
        record.steal_time_ns = sum(vcpu.steal_time_ns for vcpu in record.vcpus)
        record.overhead_time_ns = sum(vcpu.overhead_time_ns for vcpu in record.vcpus)
        record.halts = sum(vcpu.halts for vcpu in record.vcpus)
        return record

    def _group(self, group: Group) -> GuestRecord:
        record = GuestRecord(guest=group.name, cpu_time_ns=group.cpu_time_ns)
        bandwidth = group.bandwidth
        if bandwidth is not None:
            now_ns = self.builder.heart.now_ns
            open_queues = [queue for queue in bandwidth.throttled if queue.throttled_at_ns >= 0]
            open_ns = sum(now_ns - queue.throttled_at_ns for queue in open_queues)
            record.periods = bandwidth.periods
            record.throttled_periods = bandwidth.throttled_periods
            record.throttled_time_ns = bandwidth.throttled_time_ns + open_ns
            record.bursts = bandwidth.bursts
            record.burst_time_ns = bandwidth.burst_time_ns
        return record

    def _latencies(self) -> tuple[list[LatencyRecord], list[RequestRecord]]:
        latencies = []
        for guest, process, task in self.builder.tasks:
            for number, histogram in sorted(task.histograms.items()):
                kind = _LATENCY_KINDS[number]
                latencies.append(LatencyRecord(guest=guest, task=process, kind=kind, histogram=histogram))
        requests = [
            RequestRecord(*_names(task), arrival, start, end)
            for heart in self.builder.hearts
            for queue in heart.queues
            for task, arrival, start, end in queue.served
        ]
        histograms: dict[tuple[str, str], Histogram] = {}
        for heart in self.builder.hearts:
            for queue in heart.queues:
                for task, tally in queue.tallies.items():
                    histograms.setdefault(_names(task), Histogram()).merge(tally.histogram())
        for (guest, process), histogram in sorted(histograms.items()):
            record = LatencyRecord(guest=guest, task=process, kind="request_latency", histogram=histogram)
            latencies.append(record)
        return latencies, requests[:MAX_REQUESTS]


def _names(task: Task) -> tuple[str, str]:
    guest, _, process = task.name.partition("/")
    return guest, process


def _operations(task: Task) -> dict[str, int]:
    """Counts by name; of a folded piece of a loop that was cut off, the part that was done."""
    counts = dict(task.operations)
    program, pc = task.program, task.pc
    code, total_ns, _ = program.instruction(pc - 1) if pc > 0 else (Code.EXIT, 0, 0)
    if task.state != ENDED and code == Code.CPU:
        done_ns = total_ns - max(task.burst_ns, 0)
        code, number, times = program.instruction(pc)
        while code == Code.COUNT and times > 1:
            counts[number] = counts.get(number, 0) + max(times * done_ns // total_ns, 0)
            pc += 1
            code, number, times = program.instruction(pc)
    return {OPERATION_NAMES[number]: count for number, count in sorted(counts.items()) if count}
