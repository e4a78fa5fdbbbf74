"""Events of the engine a second, beside SimPy's own; run by ``make bench``.

Ratios, not absolute times, are what to watch: both are measured in turn in one process.
"""

import statistics
import time

import simpy

from virtsim.engine.environment import Environment
from virtsim.engine.sharing import SharingStation
from virtsim.engine.stations import FifoStation, PriorityStation

ROUNDS = 5


def ticking(env, delay, n=100_000):
    def process():
        for _ in range(n):
            yield delay(7)

    env.process(process())
    return timed(env, n)


def simpy_resource(n=10_000):
    env = simpy.Environment()
    resource = simpy.Resource(env, 2)

    def job():
        with resource.request() as request:
            yield request
            yield env.timeout(5)

    for _ in range(n):
        env.process(job())
    return timed(env, n)


def station(make, n=10_000):
    env = Environment()
    resource = make(env)

    def job():
        yield resource.serve(5)

    for _ in range(n):
        env.process(job())
    return timed(env, n)


def timed(env, n):
    started = time.perf_counter()
    env.run()
    return n / (time.perf_counter() - started)


CASES = {
    "timeouts, SimPy": lambda: ticking(env := simpy.Environment(), env.timeout),
    "timeouts, virtsim": lambda: ticking(env := Environment(), env.delay),
    "10000 jobs at once, SimPy's Resource": simpy_resource,
    "10000 jobs at once, FifoStation": lambda: station(lambda env: FifoStation(env, 2)),
    "10000 jobs at once, PriorityStation": lambda: station(lambda env: PriorityStation(env, 2)),
    "10000 jobs at once, SharingStation": lambda: station(SharingStation),
}


def main() -> None:
    rates = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, case in CASES.items():
            rates[name].append(case())
    for name, values in rates.items():
        print(f"{name:40} {statistics.median(values):12,.0f} a second")


if __name__ == "__main__":
    main()
