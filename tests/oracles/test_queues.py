"""The engine's stations against queueing theory.

Each test: the null hypothesis is that the mean sojourn time of the station equals the formula's. 30 or more
independent replications, each from an empty station with the first jobs cut; the statistic is
z = (mean of the replications' means - formula) / standard error, and the test fails if abs(z) >= 4.9, which
happens once in a million seeds if the hypothesis holds, or if the 95 % half-width is over the stated share of
the formula (the test would then be too weak to find errors of that size). Rounding to whole nanoseconds is
1e-6 of a service time here. The seed is fixed: a failure is a changed program, not bad luck.
"""

import math
from statistics import fmean, stdev

import pytest

from virtsim.core.streams import SplitMix64, Streams
from virtsim.engine.environment import Environment
from virtsim.engine.probes import StationProbe
from virtsim.engine.sharing import SharingStation
from virtsim.engine.stations import FifoStation, PriorityStation
from virtsim.workload.draw import Draw

SEED = 20240607
SERVICE_NS = 1_000_000
#: With 30 replications Student's t has 29 degrees of freedom; its 97.5 % point.
T_975 = 2.045
LIMIT = 4.9


def poisson_arrivals(env, gap, service, seeds, jobs, serve):
    """``jobs`` arrivals with drawn gaps, each of which calls ``serve(work_ns)``."""
    gaps, works = SplitMix64(seeds[0]), SplitMix64(seeds[1])

    def source():
        for _ in range(jobs):
            yield env.delay(gap.sample(gaps))
            serve(service.sample(works))

    env.process(source())


def replicate(name, station_of, service, load, servers, jobs=4_000, warm_up=400, replications=30, serve=None):
    """Mean sojourn times, in mean service times, of the replications."""
    gap = Draw("exponential", (round(SERVICE_NS / (load * servers)),))
    means = []
    for replication in range(replications):
        env = Environment()
        probe = StationProbe(env)
        station = station_of(env, probe)
        streams = Streams(SEED, replication)
        seeds = streams.seed64(name, "arrivals"), streams.seed64(name, "service")
        served = 0

        def admit(work_ns, station=station, probe=probe):
            nonlocal served
            served += 1
            if served == warm_up:
                probe.clear()
            (serve or (lambda s, work: s.serve(work)))(station, work_ns)

        poisson_arrivals(env, gap, service, seeds, jobs, admit)
        env.run()
        means.append(probe.sojourn_ns.mean / SERVICE_NS)
    return means


def judge(means, formula, half_width, record_property, what):
    error = stdev(means) / math.sqrt(len(means))
    z = (fmean(means) - formula) / error
    width = T_975 * error / formula
    record_property("z", z)
    print(
        f"{what}: mean sojourn {fmean(means):.4f} of {formula:.4f} service times, z = {z:+.2f} (limit {LIMIT}), "
        f"95 % half-width {width:.2%} (limit {half_width:.0%}), n = {len(means)}"
    )
    assert abs(z) < LIMIT
    assert width < half_width


def erlang_c(servers, load):
    """Probability of waiting in M/M/c; ``load`` is per server (Kleinrock, Queueing Systems 1, eq. 3.40)."""
    offered = servers * load
    waiting = offered**servers / math.factorial(servers) / (1 - load)
    return waiting / (sum(offered**k / math.factorial(k) for k in range(servers)) + waiting)


def test_m_m_1(record_property):
    """T = 1/(1-ρ) service times (Kleinrock 1, eq. 3.26)."""
    means = replicate("mm1", FIFO, Draw("exponential", (SERVICE_NS,)), load=0.6, servers=1)
    judge(means, 1 / (1 - 0.6), 0.03, record_property, "M/M/1, load 0.6")


@pytest.mark.parametrize(("servers", "load"), [(2, 0.7), (5, 0.8)])
def test_m_m_c(servers, load, record_property):
    """T = 1 + C(c, cρ)/(c(1-ρ)) service times (Erlang's delay formula)."""
    means = replicate(
        f"mm{servers}",
        lambda env, probe: FifoStation(env, servers, probe),
        Draw("exponential", (SERVICE_NS,)),
        load=load,
        servers=servers,
    )
    formula = 1 + erlang_c(servers, load) / (servers * (1 - load))
    judge(means, formula, 0.05, record_property, f"M/M/{servers}, load {load}")


def test_m_d_1(record_property):
    """T = 1 + ρ/(2(1-ρ)): Pollaczek and Khinchine's formula without variance (Kleinrock 1, eq. 5.72)."""
    means = replicate("md1", FIFO, Draw("constant", (SERVICE_NS,)), load=0.7, servers=1)
    judge(means, 1 + 0.7 / (2 * 0.3), 0.02, record_property, "M/D/1, load 0.7")


def test_m_g_1(record_property):
    """T = 1 + ρ(1+c²)/(2(1-ρ)) for a service time with coefficient of variation c = 1.5."""
    means = replicate("mg1", FIFO, Draw("hyperexponential", (SERVICE_NS,), 1.5), load=0.5, servers=1)
    judge(means, 1 + 0.5 * (1 + 1.5**2) / (2 * 0.5), 0.05, record_property, "M/H2/1, load 0.5")


@pytest.mark.parametrize(
    "service",
    ["1ms", "exponential(1ms)", "uniform(0s, 2ms)", "hyperexponential(1ms, 2)", "empirical(100us, 100us, 2800us)"],
)
def test_m_g_1_ps_is_insensitive(service, record_property):
    """T = 1/(1-ρ) whatever the distribution of the service time (Kleinrock 2, eq. 4.17)."""
    draw = Draw.parse(service)
    assert draw.mean_ns == SERVICE_NS
    means = replicate("ps", SHARING, draw, load=0.5, servers=1, jobs=2_000)
    judge(means, 2.0, 0.06, record_property, f"M/G/1-PS, load 0.5, {service}")


def test_m_g_1_ps_treats_all_sizes_alike(record_property):
    """A job of size x stays x/(1-ρ) on average: the mean of T/x over the large half is 1/(1-ρ) as well."""
    ratios = []
    service = Draw("uniform", (SERVICE_NS // 2, 3 * SERVICE_NS // 2))
    for replication in range(30):
        finished = []

        def serve(station, work_ns, finished=finished):
            job = station.serve(work_ns)
            if work_ns > SERVICE_NS:
                finished.append(job)

        env = Environment()
        station = SharingStation(env)
        streams = Streams(SEED, replication)
        seeds = streams.seed64("ps sizes", "arrivals"), streams.seed64("ps sizes", "service")
        gap = Draw("exponential", (2 * SERVICE_NS,))
        poisson_arrivals(
            env, gap, service, seeds, 3_000, lambda work, station=station, serve=serve: serve(station, work)
        )
        env.run()
        ratios.append(fmean(job.sojourn_ns / job.work_ns for job in finished[150:]))
    judge(ratios, 2.0, 0.03, record_property, "M/G/1-PS, slowdown of large jobs, load 0.5")


def test_m_m_c_ps(record_property):
    """With exponential work, sharing has as many jobs in the system as first come first served (same chain)."""
    means = replicate(
        "mmc ps",
        lambda env, probe: SharingStation(env, 2, probe),
        Draw("exponential", (SERVICE_NS,)),
        load=0.7,
        servers=2,
    )
    judge(means, 1 + erlang_c(2, 0.7) / (2 * 0.3), 0.04, record_property, "M/M/2-PS, load 0.7")


@pytest.mark.parametrize("preemptive", [False, True])
def test_m_m_1_with_priorities(preemptive, record_property):
    """Sojourn of the urgent class, loads 0.3 and 0.3 (Kleinrock 2, eqs. 3.31 and 3.39).

    Without preemption 1 + ρ/(1-ρ1), the residual service of both classes before it; with preemption 1/(1-ρ1).
    """
    means = []
    for replication in range(30):
        env = Environment()
        station = PriorityStation(env, preemptive=preemptive)
        streams, urgent = Streams(SEED, replication), []
        service = Draw("exponential", (SERVICE_NS,))
        gap = Draw("exponential", (round(SERVICE_NS / 0.3),))
        for priority, name in enumerate(("urgent", "other")):
            seeds = streams.seed64(name, "arrivals"), streams.seed64(name, "service")

            def serve(work_ns, station=station, priority=priority, urgent=urgent):
                job = station.serve(work_ns, priority)
                if priority == 0:
                    urgent.append(job)

            poisson_arrivals(env, gap, service, seeds, 2_000, serve)
        env.run(until=round(1_900 * SERVICE_NS / 0.3))
        means.append(fmean(job.sojourn_ns for job in urgent[100:] if job.end_ns is not None) / SERVICE_NS)
    formula = 1 / (1 - 0.3) if preemptive else 1 + 0.6 / (1 - 0.3)
    judge(
        means, formula, 0.03, record_property, f"M/M/1, urgent class, {'preemptive' if preemptive else 'head of line'}"
    )


def FIFO(env, probe):
    return FifoStation(env, 1, probe)


def SHARING(env, probe):
    return SharingStation(env, 1, probe)
