"""Speed of virtual machines: 8 guests with 2 vCPUs each on 4 CPUs, 1 kHz timers, 10,000 operations a second each.

``make bench`` runs it. In every guest two tasks wake 1,000 times a second between them, each time for ten operations
(nine system calls and a computation), and the guests' kernels and the host's tick at 1 kHz. Prints how much faster
than real time the model ran, in CPU time of this process.
"""

from __future__ import annotations

import sys
import time

from virtsim.core.variant import WHY_INTERPRETED
from virtsim.machine import simulate
from virtsim.platform.host import load_host
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.workload import Workload

TARGET = 20.0
GUESTS, VCPUS, CPUS = 8, 2, 4


def workload() -> Workload:
    """Ten operations every 2 ms in each of two tasks: 10,000 a second."""
    calls = [{"op": "syscall", "kind": "null"} for _ in range(9)]
    body = [{"op": "compute", "work": "150us"}, *calls]
    program = [{"op": "periodic", "period": "2ms", "body": body}]
    return Workload.from_builtins({"tasks": [{"name": "t", "count": 2, "program": program}]})


def main() -> None:
    """Simulate and print the ratio beside the target."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    card = load_host("epyc-guest-linux-6.18")
    card = card.replace(topology=card.topology.replace(cpus=CPUS), kernel=card.kernel.replace(hz=1000))
    guests = [Guest(name=f"vm{i}", stack="kvm", vcpus=VCPUS, workload=workload()) for i in range(GUESTS)]
    scenario = Scenario(guests=guests, duration=f"{seconds}s")
    began = time.process_time()
    run = simulate(scenario, host=card)
    used = time.process_time() - began
    operations = sum(sum(task.operations.values()) for task in run.tasks)
    wakeups = sum(task.voluntary_switches for task in run.tasks)
    halts = sum(guest.halts or 0 for guest in run.guests)
    steal = sum(guest.steal_time_ns or 0 for guest in run.guests) / (GUESTS * VCPUS * run.duration_ns)
    form = f"interpreted: {WHY_INTERPRETED}" if WHY_INTERPRETED else "compiled"
    ratio = seconds / used
    print(
        f"{GUESTS} guests of {VCPUS} vCPUs on {CPUS} CPUs ({form}): {seconds} s in {used:.2f} s, {ratio:.1f} times "
        f"real time (target {TARGET:g}); {operations / seconds / GUESTS:,.0f} operations/s, "
        f"{wakeups / seconds / GUESTS:,.0f} wake-ups/s, {halts / seconds / GUESTS:,.0f} halts/s each; steal {steal:.1%}"
    )


if __name__ == "__main__":
    main()
