"""The consolidation benchmark as one would write it: an object per host and per guest, and loops.

Kept for two things. It is the other side of the speed ratio of ``virtsim.cluster``, and, having
been written without arrays, an independent check of the array version: both must agree to the last
bit of every number. It knows the reference's rules only, with all quirks on, and shares no code
with the package.

Run it as ``python tests/bench/plain_consolidation.py FILE.npz DAY [POLICY]``.
"""

from __future__ import annotations

import math
import sys

WATTS = (
    (86, 89.4, 92.6, 96, 99.5, 102, 106, 108, 112, 114, 117),
    (93.7, 97, 101, 105, 110, 116, 121, 125, 129, 133, 135),
)
CORE_MIPS = (1860, 2660)
GUEST_MIPS = (2500, 2000, 1000, 500)
GUEST_RAM = (870, 1740, 1740, 613)
STEP = 300.0


class Guest:
    """A virtual machine with its trace."""

    def __init__(self, number, kind, trace):
        self.number = number
        self.mips = float(GUEST_MIPS[kind])
        self.ram = GUEST_RAM[kind]
        self.trace = [value / 100.0 for value in trace]
        self.trace.append(self.trace[-1])
        self.host = None
        self.moving = False
        self.request = self.mips
        self.window = []
        self.requested = self.allocated = self.lost_moving = 0.0
        self.last = None
        self.bits = _bucket_bits(f"2-{number}")

    def use(self, time):
        if time % STEP == 0:
            return self.trace[int(time) // 300]
        first = math.floor(time / STEP)
        slope = (self.trace[first + 1] - self.trace[first]) / STEP
        return self.trace[first] + slope * (time - first * STEP)

    def record(self, time, allocated, moving):
        if self.last is not None and self.last[0] != time:
            self.count(time)
        self.last = (time, allocated, self.request, moving)

    def count(self, time):
        then, allocated, requested, moving = self.last
        self.allocated += allocated * (time - then)
        self.requested += requested * (time - then)
        if allocated < requested and moving:
            self.lost_moving += (requested - allocated) * (time - then)


def _bucket_bits(text):
    value = 0
    for letter in text:
        value = (31 * value + ord(letter)) & 0xFFFFFFFF
    return value ^ (value >> 16)


class Host:
    """A server: the guests in order of arrival, and those still arriving."""

    def __init__(self, number):
        self.number = number
        self.kind = number % 2
        self.core = float(CORE_MIPS[self.kind])
        self.mips = 2 * self.core
        self.guests = []
        self.arriving = set()
        self.given = {}
        self.free = self.mips
        self.buckets = 16
        self.used = self.used_before = self.asked = 0.0
        self.last = None
        self.active_time = self.violated_time = 0.0
        self.was_active, self.on_since, self.lifetimes = True, 0.0, []

    def watts(self, share):
        low, high = math.floor(share * 10), math.ceil(share * 10)
        table = WATTS[self.kind]
        return table[low] + (table[high] - table[low]) / 10 * (share - low / 10) * 100

    def share(self, used):
        value = used / self.mips
        return 1.0 if 1 < value < 1.01 else value

    def add(self, guest):
        self.guests.append(guest)
        self.note_size(len(self.guests))
        self.give(guest)

    def note_size(self, size):
        while size > 0.75 * self.buckets:
            self.buckets *= 2

    def remove(self, guest):
        self.guests.remove(guest)
        self.share_out()

    def share_out(self):
        self.given, self.free = {}, self.mips
        for guest in self.guests:
            self.give(guest)

    def give(self, guest):
        capped = min(guest.request, self.core)
        weight = capped * 0.1 if guest in self.arriving else capped
        self.given[guest] = None
        if self.free >= weight:
            if guest in self.arriving:
                self.given[guest] = capped * 0.1
            else:
                self.given[guest] = capped * 0.9 if guest.moving else capped
            self.free -= weight
            return
        total = 0.0
        for other in sorted(self.given, key=lambda g: g.bits & (self.buckets - 1)):
            capped = min(other.request, self.core)
            total += capped * 0.1 if other in self.arriving else capped
        scale = self.mips / total
        for other in self.given:
            capped = min(other.request, self.core)
            if other in self.arriving:
                self.given[other] = math.floor(capped * 0.1 * scale)
            elif other.moving:
                self.given[other] = math.floor(capped * scale * 0.9)
            else:
                self.given[other] = math.floor(capped * scale)
        self.free = 0.0

    def update(self, time):
        self.share_out()
        self.used_before, self.used, self.asked = self.used, 0.0, 0.0
        for guest in self.guests:
            allocated = self.given[guest]
            if guest not in self.arriving:
                guest.record(time, allocated, guest.moving)
                if guest.moving:
                    allocated /= 0.9
            self.used += allocated
            self.asked += guest.request
        if self.last is not None and self.last[0] != time:
            self.count(time)
        self.last = (time, self.used, self.asked)

    def count(self, time):
        then, used, asked = self.last
        if used > 0:
            self.active_time += time - then
            if used < asked:
                self.violated_time += time - then
        self.count_state(then, used > 0)

    def count_state(self, time, active):
        if self.was_active and not active:
            self.lifetimes.append(time - self.on_since)
        if not self.was_active and active:
            self.on_since = time
        self.was_active = active

    def load(self):
        return sum((self.given[guest] for guest in self.guests), 0.0)


def host_window(guests, mips):
    window = [0.0] * 30
    for guest in guests:
        for i, value in enumerate(guest.window):
            window[i] += value * guest.mips / mips
    while len(window) > 1 and window[-1] == 0:
        window.pop()
    return window


def median(values):
    values = sorted(values)
    half = len(values) // 2
    if len(values) % 2:
        return values[half]
    return values[half - 1] + 0.5 * (values[half] - values[half - 1])


def above(guests, mips, threshold):
    return sum((guest.request for guest in guests), 0.0) / mips > threshold


def over_thr(guests, mips):
    return above(guests, mips, 0.8)


def over_mad(guests, mips):
    window = host_window(guests, mips)
    if len(window) < 12:
        return above(guests, mips, 0.7)
    middle = median(window)
    return above(guests, mips, 1 - 2.5 * median([abs(middle - value) for value in window]))


def over_iqr(guests, mips):
    window = sorted(host_window(guests, mips))
    n = len(window)
    if n < 12:
        return above(guests, mips, 0.7)
    low = window[math.floor(0.25 * (n + 1) + 0.5) - 1]
    high = window[math.floor(0.75 * (n + 1) + 0.5) - 1]
    return above(guests, mips, 1 - 1.5 * (high - low))


def over_lr(guests, mips):
    window = host_window(guests, mips)
    if len(window) < 10:
        return above(guests, mips, 0.7)
    values = window[9::-1]
    mean = sum(values) / 10
    slope = sum((i - 4.5) * (value - mean) for i, value in enumerate(values)) / 82.5
    return 1.2 * (mean - slope * 5.5 + slope * 11) >= 1


DETECTORS = {"thr": over_thr, "mad": over_mad, "iqr": over_iqr, "lr": over_lr, "lrr": over_lr}


def pick_mmt(guests):
    return min(guests, key=lambda guest: guest.ram)


def pick_mu(guests):
    return min(guests, key=lambda guest: guest.request / guest.mips)


def pick_mc(guests):
    """Largest multiple correlation with the neighbours, by Householder QR."""
    n, m = len(guests), min(len(guest.window) for guest in guests)
    if n < 2 or n > m:
        return pick_mmt(guests)
    best, choice = 5e-324, guests[0]
    for guest in guests:
        others = [other.window[:m] for other in guests if other is not guest]
        determination = r_squared(others, guest.window[:m])
        if determination is None:
            return pick_mmt(guests)
        if determination > best:
            best, choice = determination, guest
    return choice


def r_squared(predictors, response):
    m = len(response)
    columns = [[1.0] * m] + [list(column) for column in predictors]
    p = len(columns)
    diagonal = [0.0] * p
    target = list(response)
    for k in range(p):
        column = columns[k]
        norm = math.sqrt(sum(column[i] * column[i] for i in range(k, m)))
        a = -norm if column[k] > 0 else norm
        diagonal[k] = a
        if a == 0:
            return None
        column[k] -= a
        for other in [*columns[k + 1 :], target]:
            alpha = 0.0
            for i in range(k, m):
                alpha -= other[i] * column[i]
            alpha /= a * column[k]
            for i in range(k, m):
                other[i] -= alpha * column[i]
    weights = [0.0] * p
    for k in reversed(range(p)):
        weights[k] = target[k] / diagonal[k]
        for i in range(k):
            target[i] -= weights[k] * columns[k][i]
    residual = total = mean = 0.0
    for i in range(m):
        fit = 0.0
        for weight, column in zip(weights, [[1.0] * m, *predictors]):
            fit += weight * column[i]
        residual += (response[i] - fit) ** 2
        deviation = response[i] - mean
        mean += deviation / (i + 1)
        total += i * deviation * (deviation / (i + 1))
    return 1 - residual / total if total else float("nan")


PICKS = {"mmt": pick_mmt, "mu": pick_mu, "mc": pick_mc}


class World:
    """The data centre and its clock."""

    def __init__(self, traces, detector, pick, n_hosts=800):
        self.hosts = [Host(i) for i in range(n_hosts)]
        block = math.ceil(len(traces) / 4)
        self.guests = [Guest(i, i // block, trace) for i, trace in enumerate(traces)]
        self.detector, self.pick = detector, pick
        self.consolidates = detector is not None
        self.joules = 0.0
        self.migrations = 0
        self.time = 0.0

    def run(self, limit=86400.0):
        self.place_first()
        tick = 0.1 + STEP
        while tick <= limit:
            self.update(tick)
            for guest in self.guests:
                if guest.host is not None:
                    guest.window.insert(0, guest.use(tick))
                    del guest.window[30:]
            moves = self.optimise() if self.consolidates else []
            for guest, host in moves:
                self.start_move(guest, host, tick)
            ends = sorted({tick + guest.ram / 62.5 for guest, _ in moves})
            for end in ends:
                if end > limit:
                    break
                self.update(end)
                for guest, host in moves:
                    if tick + guest.ram / 62.5 == end:
                        self.end_move(guest, host)
                self.update(end)
            tick += STEP
        for item in [*self.hosts, *self.guests]:
            if item.last is not None and isinstance(item, Host):
                item.count_state(item.last[0], item.used > 0)

    def place_first(self):
        for guest in self.guests:
            best, best_cost = None, math.inf
            for host in self.hosts:
                ram = 4096 - sum(other.ram for other in host.guests)
                free = host.mips - sum(other.mips for other in host.guests)
                if host.core < guest.mips or free < guest.mips or ram < guest.ram:
                    continue
                if not self.consolidates:
                    best = host
                    break
                load = sum(other.mips for other in host.guests)
                cost = host.watts((load + guest.mips) / host.mips) - host.watts(0.0)
                if cost < best_cost:
                    best, best_cost = host, cost
            best.guests.append(guest)
            guest.host = best

    def update(self, time):
        for guest in self.guests:
            guest.request = guest.use(time) * guest.mips
        passed = time - self.time
        for host in self.hosts:
            host.update(time)
            if passed > 0 and host.used_before != 0:
                start = host.watts(host.share(host.used_before))
                self.joules += (start + (host.watts(host.share(host.used)) - start) / 2) * passed
        for guest in self.guests:
            if guest.host is not None and not guest.moving and guest.request == 0:
                guest.host.remove(guest)
                guest.host = None
        self.time = time

    def start_move(self, guest, host, time):
        self.migrations += 1
        guest.moving = True
        host.guests.append(guest)
        host.arriving.add(guest)
        host.note_size(len(host.guests))
        host.update(time)
        guest.host.update(time)

    def end_move(self, guest, host):
        guest.host.guests.remove(guest)
        host.guests.remove(guest)
        host.arriving.discard(guest)
        guest.moving = False
        guest.host = host
        host.guests.append(guest)

    def optimise(self):
        saved = [list(host.guests) for host in self.hosts]
        over = [host for host in self.hosts if self.detector(host.guests, host.mips)]
        moves = self.relieve(over) + self.empty(over)
        for host, guests in zip(self.hosts, saved):
            host.guests = guests
            host.share_out()
        return moves

    def relieve(self, over):
        picked = []
        for host in over:
            while host.guests:
                guest = self.pick(host.guests)
                picked.append(guest)
                host.guests.remove(guest)
                if not self.detector(host.guests, host.mips):
                    break
        moves = []
        for guest in sorted(picked, key=lambda g: -g.request):
            target = self.target(guest, set(over))
            if target is not None:
                target.add(guest)
                moves.append((guest, target))
        return moves

    def empty(self, over):
        moves = []
        closed = set(over) | {host for host in self.hosts if host.share(host.used) == 0}
        done = set(closed)
        while True:
            best, least = None, 1.0
            for host in self.hosts:
                if host not in done and 0 < host.share(host.used) < least:
                    best, least = host, host.share(host.used)
            if best is None:
                return moves
            done.add(best)
            closed.add(best)
            mine = []
            for guest in sorted(best.guests, key=lambda g: -g.request):
                target = self.target(guest, closed)
                if target is None:
                    for undone, host in mine:
                        host.remove(undone)
                    mine = []
                    break
                target.add(guest)
                mine.append((guest, target))
            done.update(host for _, host in mine)
            moves += mine

    def target(self, guest, closed):
        best, best_cost = None, math.inf
        for host in self.hosts:
            if host in closed or host.core < guest.request or host.free < guest.request:
                continue
            load = host.load()
            if load != 0:
                host.note_size(len(host.guests) + 1)
                if self.detector([*host.guests, guest], host.mips):
                    continue
            cost = host.watts((load + guest.request) / host.mips) - host.watts(host.share(host.used))
            if cost < best_cost:
                best, best_cost = host, cost
        return best

    def results(self):
        requested = sum(guest.requested for guest in self.guests)
        slatah = sum(host.violated_time for host in self.hosts) / sum(host.active_time for host in self.hosts)
        pdm = sum(guest.lost_moving for guest in self.guests) / requested
        lifetimes = [time for host in self.hosts for time in host.lifetimes]
        return {
            "energy_kwh": self.joules / 3.6e6,
            "migrations": self.migrations,
            "slatah": slatah,
            "pdm": pdm,
            "sla": slatah * pdm,
            "overall": (requested - sum(guest.allocated for guest in self.guests)) / requested,
            "shutdowns": len(lifetimes),
            "mean_time_before_shutdown": sum(lifetimes) / len(lifetimes),
        }


def run(traces, policy):
    detector, _, pick = policy.partition("-")
    world = World(traces, DETECTORS.get(detector), PICKS.get(pick))
    world.run()
    return world.results()


if __name__ == "__main__":
    import numpy

    with numpy.load(sys.argv[1]) as days:
        matrix = days[f"u{sys.argv[2]}"].tolist()
    for name, value in run(matrix, sys.argv[3] if len(sys.argv) > 3 else "lr-mmt").items():
        print(name, value)
