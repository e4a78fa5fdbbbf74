"""Running a scenario on this kernel."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from virtsim.backends import journal, kernel, noise
from virtsim.backends.build import Runner, compiled_runner
from virtsim.backends.cgroups import Cgroups
from virtsim.backends.groups import RunGroups
from virtsim.backends.hierarchies import find_cgroups
from virtsim.backends.image import Plan
from virtsim.backends.journal import Entry
from virtsim.backends.launch import run_image
from virtsim.backends.layout import layout
from virtsim.backends.noise import Noise, NoiseLimits
from virtsim.backends.program import GuestProgram
from virtsim.backends.report import Report
from virtsim.backends.rlimits import rlimit_pairs
from virtsim.backends.timeline import read_trace
from virtsim.core.errors import BackendUnavailable, SpecError
from virtsim.core.spec import CpuSet
from virtsim.core.streams import Streams
from virtsim.core.units import format_cpu_list, parse_duration
from virtsim.results.run import Run, Slice, Wakeup
from virtsim.results.sums import latency_records, sum_times
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload import operations as ops
from virtsim.workload.seeds import tick_share

#: Stacks that this kernel can be observed with.
STACKS = ("native", "container")
MOST_PROCESSES = 4096
MOST_REQUESTS = 200_000
MOST_SPANS = 200_000


def observe(
    scenario: Scenario,
    *,
    seed: int = 0,
    phases: int = 0,
    timeline: bool = False,
    operation_latency: bool = True,
    repeats_if_disturbed: int = 2,
    noise_limits: NoiseLimits | None = None,
    grace: str | int = "30s",
) -> Run:
    """Run a scenario on this kernel: its tasks as processes, its guests in namespaces and cgroups.

    Parameters
    ----------
    scenario : Scenario
        Its guests' stacks must be ``native`` or ``container``; ``host`` is not looked at.
    seed : int
        Root seed of the programs' draws; the model draws the same from it.
    phases : int
        Number of the draw of where in a tick the run begins; the model begins there with the same number.
    timeline : bool
        Whether to record slices and wake-ups. They come from the kernel's scheduler events where tracefs
        can be mounted; else the runner's own time stamps stand in (``manifest["timeline"]`` says which).
    operation_latency : bool
        Whether to time operations (``op:<name>`` latencies). Short ones that are many are timed once
        in 16; ``manifest["runner"]`` has the price.
    repeats_if_disturbed : int
        How often a disturbed run is repeated; the least disturbed one is returned, marked if it still is.
    noise_limits : NoiseLimits, optional
        From where on a run counts as disturbed.
    grace : str or int, ns
        How much longer than the scenario's duration everything may take, setting up included.

    Returns
    -------
    Run
        With ``world="real"``.

    Raises
    ------
    SpecError
        If the scenario is not one that can be observed; nothing was done.
    BackendUnavailable
        If this machine lacks something; says what and how to get it.
    BackendTimeout
        If the run did not end in time.
    """
    _check(scenario)
    runner = compiled_runner()
    cgroups = find_cgroups()
    _check_cpus(scenario, cgroups.cpus())
    _check_static(scenario, runner)
    grace_ns = parse_duration(grace) if isinstance(grace, str) else grace
    limits = noise_limits or NoiseLimits()
    journal.clean()
    best: Run | None = None
    for attempt in range(1, max(0, repeats_if_disturbed) + 2):
        run = _Observation(scenario, seed, phases, timeline, operation_latency, runner, cgroups).run(grace_ns, limits)
        run.manifest["noise"]["attempts"] = attempt
        if best is None or _loudness(run) < _loudness(best):
            best = run
        if not run.disturbed:
            break
    assert best is not None
    best.manifest["noise"]["attempts"] = attempt
    return best


def _loudness(run: Run) -> float:
    measured = run.manifest["noise"]
    return float(measured["steal_share"] + measured["foreign_share"] + abs(measured["speed_change"]))


def _check(scenario: Scenario) -> None:
    for i, guest in enumerate(scenario.guests):
        if guest.stack not in STACKS:
            raise SpecError(
                f"guests[{i}].stack",
                f"{guest.stack!r} can only be simulated; this kernel can be observed with {' and '.join(STACKS)}",
            )
    processes = sum(guest.workload.process_count for guest in scenario.guests)
    if processes > MOST_PROCESSES:
        raise SpecError("guests", f"{processes} processes are too many to observe; at most {MOST_PROCESSES}")


def _check_cpus(scenario: Scenario, available: tuple[int, ...]) -> None:
    wanted: list[tuple[str, CpuSet | None]] = [("cpus", scenario.cpus)]
    wanted += [(f"groups[{i}].cpus", group.cpus) for i, group in enumerate(scenario.groups)]
    for i, guest in enumerate(scenario.guests):
        wanted.append((f"guests[{i}].cpus", guest.cpus))
        wanted += [(f"guests[{i}].workload.tasks[{j}].cpus", t.cpus) for j, t in enumerate(guest.workload.tasks)]
    for path, cpus in wanted:
        if cpus is not None and not set(cpus) <= set(available):
            raise SpecError(path, f"CPUs {cpus} are not all here; this machine gives us {format_cpu_list(available)}")


def _check_static(scenario: Scenario, runner: Runner) -> None:
    for guest in scenario.guests:
        executes = any(isinstance(operation, ops.ForkExec) for _, operation in guest.workload.walk())
        if guest.stack == "container" and executes and not runner.static:
            raise BackendUnavailable(
                "static libc",
                "fork_exec in a container needs the runner without libraries; install libc.a (Debian: libc6-dev, "
                "Fedora: glibc-static)",
            )


class _Observation:
    """One attempt."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        phases: int,
        timeline: bool,
        operation_latency: bool,
        runner: Runner,
        cgroups: Cgroups,
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.phases = phases
        self.timeline = timeline
        self.operation_latency = operation_latency
        self.runner = runner
        self.cgroups = cgroups
        self.programs: list[GuestProgram] = []
        self.snapshots: list[tuple[str, str]] = []

    def run(self, grace_ns: int, limits: NoiseLimits) -> Run:
        """Make everything, run, take everything down, and tell."""
        begin = time.time()
        with Entry() as entry:
            groups = RunGroups(self.cgroups, entry.name, self.scenario)
            entry.record.groups = [str(folder) for folder in groups.folders]
            if self.timeline:
                entry.record.trace = entry.name
                entry.record.runner = str(self.runner.path)
            entry.save()
            groups.create()
            image = self._plan(entry, groups).image()
            try:
                run_image(self.runner.path, image, self.scenario.duration + grace_ns)
                trace = _text(entry.scratch / "trace.txt")
                run = self._result(Report(image, self.scenario, groups, self.programs, self.snapshots), trace, limits)
            finally:
                image.close()
        run.manifest["started"] = begin
        return run

    # ---- Plan ----

    def _plan(self, entry: Entry, groups: RunGroups) -> Plan:
        plan = Plan()
        constants = layout().constants
        streams = Streams(self.seed)
        plan.header = {
            "owner_pid": entry.record.owner.pid,
            "duration_ns": self.scenario.duration,
            "tick_share_ppm": int(1_000_000 * tick_share(streams, self.phases)),
            "timeline": constants["TIMELINE_KERNEL" if self.timeline else "TIMELINE_NONE"],
            "trace_name": plan.text(entry.name),
            "scratch": plan.text(entry.scratch),
            "runner": plan.text(self.runner.path),
        }
        for number, guest in enumerate(self.scenario.guests):
            try:
                self._plan_guest(plan, number, guest, groups, streams)
            except SpecError as problem:
                raise problem.inside(f"guests[{number}]") from None
        for phase, writes in (("BEFORE_RELEASE", groups.bandwidth()), ("AFTER_STOP", groups.lift())):
            for write in writes:
                texts = {"path": plan.text(write.path), "text": plan.text(write.text)}
                plan.add("writes", phase=constants[f"WRITE_{phase}"], **texts)
        for path, limits in groups.limited:
            statistics = plan.text(self.cgroups.counters(path)["cpu.stat"])
            plan.add("periods", statistics=statistics, period_ns=limits.cpu_max.period_ns if limits.cpu_max else 0)
        self._plan_snapshot(plan, "", "stat", Path("/proc/stat"))
        for path in groups.paths:
            for name, file in self.cgroups.counters(path).items():
                self._plan_snapshot(plan, path, name, file)
        if any(isinstance(op, ops.Serve) for guest in self.scenario.guests for _, op in guest.workload.walk()):
            plan.reserve("requests", MOST_REQUESTS)
        if self.timeline:
            plan.reserve("spans", MOST_SPANS)
        return plan

    def _plan_guest(self, plan: Plan, number: int, guest: Guest, groups: RunGroups, streams: Streams) -> None:
        joins = plan.words(plan.text(file) for file in self.cgroups.joins(groups.of_guest[guest.name]))
        rlimits = plan.words(rlimit_pairs(guest.isolation.rlimits))
        row: dict[str, Any] = {
            "name": plan.text(guest.name),
            "isolated": int(guest.stack == "container"),
            "user_namespace": int(guest.isolation.user_namespace),
            "time_namespace": int(guest.isolation.time_namespace),
            "seccomp_rules": guest.isolation.seccomp_rules,
            "seccomp_arguments": int(guest.isolation.seccomp_arguments),
            "joins": joins["first"],
            "joins_count": joins["count"],
            "rlimits": rlimits["first"],
            "rlimits_count": rlimits["count"] // 2,
            "processes": plan.count("processes"),
            "channels": plan.count("channels"),
        }
        cpus = self.scenario.allowed_cpus(guest) or self.cgroups.cpus()
        program = GuestProgram(plan, number, guest, streams, cpus, operation_latency=self.operation_latency)
        row |= {"processes_count": len(program.processes), "channels_count": len(program.channels)}
        plan.add("guests", **row)
        self.programs.append(program)

    def _plan_snapshot(self, plan: Plan, owner: str, name: str, file: Path) -> None:
        plan.add("snapshots", path=plan.text(file))
        self.snapshots.append((owner, name))

    # ---- Result ----

    def _result(self, report: Report, trace: str, limits: NoiseLimits) -> Run:
        slices, wakeups, source = self._timeline(report, trace)
        tasks = report.tasks()
        return Run(
            world="real",
            scenario=self.scenario,
            seed=self.seed,
            duration_ns=report.duration_ns,
            tasks=tasks,
            guests=sum_times(self.scenario, tasks, report.guests()),
            latencies=report.latencies() + latency_records(slices, wakeups),
            requests=report.requests(),
            slices=slices,
            wakeups=wakeups,
            manifest=self._manifest(report, limits) | source,
        )

    def _timeline(self, report: Report, trace: str) -> tuple[list[Slice], list[Wakeup], dict[str, Any]]:
        if not self.timeline:
            return [], [], {}
        if report.image.header("timeline") == layout().constants["TIMELINE_OWN"]:
            source = {
                "source": "runner",
                "note": "operations from begin to end, waiting included; no kernel trace",
                "why": f"tracefs: {os.strerror(report.image.header('trace_errno'))}",
            }
            return report.spans(), [], {"timeline": source}
        zero_ns = report.image.header("released_ns")
        slices, wakeups = read_trace(trace, report.pids(), zero_ns, report.duration_ns)
        lost = report.image.header("trace_lost")
        return slices, wakeups, {"timeline": {"source": "kernel", "resolution_ns": 1000, "lost_events": lost}}

    def _manifest(self, report: Report, limits: NoiseLimits) -> dict[str, Any]:
        header = report.image.header
        window_ns = header("stopped_ns")
        measured = self._noise(report, window_ns, limits)
        manifest: dict[str, Any] = {
            "phases": self.phases,
            "tick": {"period_ns": header("tick_ns"), "passed_ns": header("tick_passed_ns")},
            "begin_cpus": report.begin_cpus(),
            "kernel": kernel.facts(self.runner.path),
            "noise": noise.as_manifest(measured, limits, 1, window_ns),
            "runner": {
                "digest": self.runner.digest,
                "compiler": self.runner.compiler,
                "static": self.runner.static,
                "dispatch_ns": header("dispatch_ps") / 1000,
                "timing_ns": header("timing_ps") / 1000,
                "timestamp_ns": header("timestamp_ps") / 1000,
                "round_ns": [header("round_before_fs") / 1e6, header("round_after_fs") / 1e6],
                "late_ns": header("late_ns"),
                "stop_took_ns": header("stop_took_ns"),
                "real_time_supervisor": bool(header("real_time")),
            },
            "cgroups": {
                "version": self.cgroups.version,
                "controllers": sorted(self.cgroups.controllers),
                "native_leaves": list(report.groups.leaves),
                "clamped_quotas": report.groups.clamped,
                "period_phase_ns": report.period_phases_ns(),
                "cpu_time_ns": report.accounts[report.groups.top]["cpu_time_ns"],
            },
        }
        failures = report.failures()
        if failures:
            manifest["failures"] = failures
        if header("requests_used") > header("requests_count") > 0:
            manifest["requests_dropped"] = header("requests_used") - header("requests_count")
        return manifest

    def _noise(self, report: Report, window_ns: int, limits: NoiseLimits) -> Noise:
        before, after = report.texts("")
        own_ns = report.accounts[report.groups.top]["cpu_time_ns"]
        rounds = (report.image.header("round_before_fs"), report.image.header("round_after_fs"))
        return noise.measure(before["stat"], after["stat"], self.scenario.cpus, window_ns, own_ns, rounds, limits)


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
