"""Any acceptable scenario runs in the model, or is refused in one line; and what it gives adds up."""

import re
from itertools import pairwise

from hypothesis import HealthCheck, Phase, given, settings

from tests.properties.scenario_documents import documents
from virtsim.core.errors import ModelError, SpecError
from virtsim.core.spec import decode_json, encode_json
from virtsim.machine import simulate
from virtsim.results.run import Run
from virtsim.scenario.scenario import Scenario

HOST = "epyc-guest-linux-6.18"
CPUS = 2


def coarse(node):
    """Nanoseconds become microseconds: endless loops of 1 ns would take long to simulate and show nothing more."""
    if isinstance(node, dict):
        return {key: coarse(value) for key, value in node.items()}
    if isinstance(node, list):
        return [coarse(item) for item in node]
    return re.sub(r"(?<=\d)ns", "us", node) if isinstance(node, str) else node


# Not shrunk: a smaller scenario that fails is rarely worth the minutes it takes to find.
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(documents())
def test_any_scenario_runs_or_is_refused(document):
    document = coarse(document) | {"host": HOST, "duration": "5ms", "cpus": f"0-{CPUS - 1}"}
    try:
        scenario = Scenario.from_builtins(document)
        run = simulate(scenario, seed=3, timeline=True)
    except (SpecError, ModelError) as problem:
        refusal = str(problem)
    else:
        refusal = ""
    if refusal:
        assert refusal.isprintable()
        assert re.match(r"\S+: .{10}", refusal), "where and why"
        return
    assert decode_json(encode_json(run), Run) == run
    assert simulate(scenario, seed=3, timeline=True).digest == run.digest
    check_sums(run)


def check_sums(run):
    """Conservation: no CPU is used twice, and tasks, guests and slices tell of the same time."""
    assert 0 <= run.duration_ns <= 5_000_000
    by_cpu, by_task = {}, {}
    for piece in run.slices:
        assert 0 <= piece.start_ns <= piece.end_ns <= run.duration_ns
        by_cpu.setdefault(piece.cpu, []).append((piece.start_ns, piece.end_ns))
        key = (piece.guest, piece.task)
        by_task[key] = by_task.get(key, 0) + piece.end_ns - piece.start_ns
    assert set(by_cpu) <= set(range(CPUS))
    for spans in by_cpu.values():
        spans.sort()
        assert all(left[1] <= right[0] for left, right in pairwise(spans))
    for task in run.tasks:
        assert task.cpu_time_ns <= run.duration_ns * CPUS
        # On a CPU, but not charged: time that the host takes for itself, and a child that is not waited for yet.
        assert task.cpu_time_ns <= by_task.get((task.guest, task.task), 0)
    used = {guest.guest: guest.cpu_time_ns for guest in run.guests}
    for guest in run.scenario.guests:
        mine = sum(task.cpu_time_ns for task in run.tasks if task.guest == guest.name)
        assert mine <= used[guest.name] <= run.duration_ns * CPUS
        if "Fork" not in repr(guest.workload):
            # Without children that nobody has waited for, the guest's time is its tasks'.
            assert mine == used[guest.name]
    for record in run.latencies:
        assert 0 <= record.histogram.min_ns <= record.histogram.max_ns
