"""From a machine that has run to a :class:`~virtsim.results.run.Run`."""

from __future__ import annotations

from typing import Any

from virtsim.machine.builder import MachineBuilder
from virtsim.machine.compiler import IO, OPERATION_NAMES, RESPONSE, WAKEUP
from virtsim.machine.records import device_records, frequency_records
from virtsim.machine.watch import Watch, names_of
from virtsim.results.histogram import Histogram
from virtsim.results.run import (
    GuestRecord,
    GuestTimeline,
    LatencyRecord,
    RequestRecord,
    Run,
    TaskRecord,
    VcpuRecord,
)
from virtsim.results.sums import latency_records, sum_times
from virtsim.scenario.scenario import Scenario
from virtsim.scheduling.group import Group
from virtsim.scheduling.program import Code
from virtsim.scheduling.request import MAX_REQUESTS
from virtsim.scheduling.task import ENDED, Task
from virtsim.scheduling.vcpu_states import BUSY, IDLE, OVERHEAD, STEAL

_LATENCY_KINDS = {WAKEUP: "wakeup_latency", RESPONSE: "response_time", IO: "io_latency"}


class Recorder:
    """Watches a machine's kernels, if a timeline is wanted, and takes its records at the end."""

    def __init__(self, scenario: Scenario, builder: MachineBuilder, timeline: bool) -> None:
        self.scenario = scenario
        self.builder = builder
        #: Of the host's kernel, then of those on virtual CPUs, each behind those it stands on.
        self._watches = [Watch(heart) for heart in builder.hearts] if timeline else []

    def run(self, seed: int, manifest: dict[str, Any]) -> Run:
        """The records of the finished run."""
        heart = self.builder.heart
        for watch in self._watches:
            watch.close()
        host = self._watches[0] if self._watches else None
        latencies, requests = self._latencies()
        tasks = [self._task(guest, process, task) for guest, process, task in self.builder.tasks]
        return Run(
            world="model",
            scenario=self.scenario,
            seed=seed,
            duration_ns=heart.now_ns,
            tasks=tasks,
            guests=sum_times(self.scenario, tasks, self._guests()),
            latencies=latencies
            + [record for watch in self._watches for record in latency_records(watch.slices, watch.wakeups)],
            requests=requests,
            slices=host.slices if host is not None else [],
            wakeups=host.wakeups if host is not None else [],
            throttles=host.throttles if host is not None else [],
            task_throttles=host.task_throttles if host is not None else [],
            guest_timelines=self._guest_timelines(),
            devices=device_records(self.builder.devices, heart.now_ns) + frequency_records(heart),
            manifest=manifest,
        )

    def _guest_timelines(self) -> list[GuestTimeline]:
        kernels = [(guest, storey) for guest, storeys in self.builder.storeys.items() for storey in storeys]
        return [
            GuestTimeline(
                guest=guest,
                vcpus=[names_of(vcpu)[1] for vcpu in storey.vcpus],
                slices=watch.slices,
                wakeups=watch.wakeups,
            )
            for (guest, storey), watch in zip(kernels, self._watches[1:], strict=bool(self._watches))
        ]

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
            RequestRecord(*names_of(task), arrival, start, end)
            for heart in self.builder.hearts
            for queue in heart.queues
            for task, arrival, start, end in queue.served
        ]
        histograms: dict[tuple[str, str], Histogram] = {}
        for heart in self.builder.hearts:
            for queue in heart.queues:
                for task, tally in queue.tallies.items():
                    histograms.setdefault(names_of(task), Histogram()).merge(tally.histogram())
        for (guest, process), histogram in sorted(histograms.items()):
            record = LatencyRecord(guest=guest, task=process, kind="request_latency", histogram=histogram)
            latencies.append(record)
        return latencies, requests[:MAX_REQUESTS]


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
