"""What a placement policy must keep."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from virtsim.cluster.policies.book import Book
from virtsim.cluster.policies.bounds import lower_bound
from virtsim.cluster.policies.tables import CPU, Guests, Hosts, check_answer
from virtsim.core.errors import ModelError
from virtsim.testing.laws import LawBroken, fresh_random, law, require

# pytest shows where the user asked, and not the way from there.
__tracebackhide__ = True


#: Laws that every answer is checked for at once: the name, what the error of an answer says where it is that law that
#: is broken, and the law.
_OF_EVERY_ANSWER = (
    (
        "answers-for-all",
        "",
        "Every guest gets exactly one answer, a host that exists or none: no guest is lost or duplicated.",
    ),
    ("room-is-kept", "which has", "No host is given more than it has of any resource."),
    ("only-where-allowed", "not available", "Nothing is put on a host that failed or is closed."),
    (
        "apart-is-kept",
        "must be apart",
        "Guests that must be apart never share a host, nor go where another of their group is already.",
    ),
)


def _place(policy: Any, guests: Guests, hosts: Hosts) -> np.ndarray:
    """The policy's answer, which must at least be one."""
    name = type(policy).__name__
    answer = policy.place(guests, hosts, fresh_random())
    try:
        return check_answer(answer, guests, hosts, name)
    except ModelError as problem:
        broken = [law_name for law_name, words, _ in _OF_EVERY_ANSWER if words in str(problem)][-1]
        raise LawBroken(f"{name} breaks {broken!r}: {problem}") from None


def _law_of_every_answer(name: str, meaning: str) -> None:
    def check(policy: Any, guests: Guests, hosts: Hosts) -> None:
        _place(policy, guests, hosts)

    check.__doc__ = meaning
    law(name, "placement")(check)


for _name, _, _meaning in _OF_EVERY_ANSWER:
    _law_of_every_answer(_name, _meaning)


def _show(guests: Guests, hosts: Hosts, places: np.ndarray) -> str:
    needs = [(name, *need) for name, need in zip(guests.names, guests.need.tolist())]
    rooms = [(name, *free) for name, free in zip(hosts.names, hosts.free.tolist())]
    return f"guests (name, CPU, memory) {needs}, hosts (name, free CPU, free memory) {rooms}, answer {places.tolist()}"


@law("same-seed-same-answer", "placement")
def same_seed_same_answer(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """The same question and seed give the same answer."""
    first, second = _place(policy, guests, hosts), _place(policy, guests, hosts)
    require(bool((first == second).all()), "same-seed-same-answer", policy, _show(guests, hosts, second))


@law("host-names-do-not-matter", "placement")
def host_names_do_not_matter(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """With the names of hosts exchanged, the same guests share a host as before."""
    first = _place(policy, guests, hosts)
    renamed = replace(hosts, names=[f"zz{i}" for i in range(len(hosts), 0, -1)])
    second = _place(policy, guests, renamed)
    require(_groups(first) == _groups(second), "host-names-do-not-matter", policy, _show(guests, hosts, first))


@law("order-of-equals-does-not-matter", "packing")
def order_of_equals(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """Equal hosts in another order are used in the same groups, and as many of them."""
    first = _place(policy, guests, hosts)
    order = list(range(len(hosts)))[::-1]
    turned = replace(hosts, names=[hosts.names[i] for i in order])
    second = _place(policy, guests, turned)
    require(_groups(first) == _groups(second), "order-of-equals-does-not-matter", policy, _show(guests, hosts, first))


def _groups(places: np.ndarray) -> set[tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for guest, host in enumerate(places.tolist()):
        found.setdefault(host if host >= 0 else -1, []).append(guest)
    return {tuple(members) for members in found.values()}


@law("no-needless-refusal", "placement")
def no_needless_refusal(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """A guest is left without a host only if it fits on none when all is done."""
    places = _place(policy, guests, hosts)
    book = Book(hosts)
    for guest in np.flatnonzero(places >= 0).tolist():
        book.put(guests, guest, int(places[guest]))
    for guest in np.flatnonzero(places < 0).tolist():
        fits = book.fits(guests, guest)
        require(
            not fits.any(), "no-needless-refusal", policy, f"for {guests.names[guest]}: " + _show(guests, hosts, places)
        )


@law("not-more-hosts-than-guests", "packing")
def not_more_hosts_than_guests(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """Never more hosts than one each, and never fewer than the lower bound."""
    # Counted before the answer is checked, so that a policy that overbooks breaks this law, too.
    places = np.asarray(policy.place(guests, hosts, fresh_random()))
    used = len(set(places[places >= 0].tolist()))
    require(used <= int((places >= 0).sum()), "not-more-hosts-than-guests", policy, _show(guests, hosts, places))
    if (places >= 0).all():
        least = lower_bound(guests, hosts)
        require(used >= least, "not-more-hosts-than-guests", policy, f"bound {least}: " + _show(guests, hosts, places))


@law("within-ratio", "packing")
def within_ratio(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """In one dimension, never more hosts than its ratio times the optimum allows (if the policy states one)."""
    ratio = getattr(policy, "ratio", None)
    if ratio is None or not len(guests):
        return
    capacity = float(hosts.capacity[0, CPU])
    sizes = np.minimum(guests.need[:, CPU], capacity)
    flat = Guests(guests.names, np.stack([sizes, np.zeros(len(guests))], axis=1))
    enough = Hosts([f"h{i}" for i in range(len(guests))], np.tile(hosts.capacity[0], (len(guests), 1)))
    places = _place(policy, flat, enough)
    used, optimum = len(set(places.tolist())), optimal_bins(sizes.tolist(), capacity)
    limit = math.floor(ratio[0] * optimum + ratio[1] + 1e-9)
    require(used <= limit, "within-ratio", policy, f"{used} hosts, optimum {optimum}: {sizes.tolist()} of {capacity}")


def optimal_bins(sizes: list[float], capacity: float) -> int:
    """Fewest bins, by trying: for up to about a dozen sizes."""
    sizes = sorted((size for size in sizes if size > 0), reverse=True)
    best = max(len(sizes), 1)

    def fill(i: int, bins: list[float]) -> None:
        nonlocal best
        if len(bins) >= best:
            return
        if i == len(sizes):
            best = max(len(bins), 1)
            return
        for b in {round(room, 9): k for k, room in enumerate(bins)}.values():
            if bins[b] + 1e-9 >= sizes[i]:
                bins[b] -= sizes[i]
                fill(i + 1, bins)
                bins[b] += sizes[i]
        bins.append(capacity - sizes[i])
        fill(i + 1, bins)
        bins.pop()

    fill(0, [])
    return best


@law("capacity-helps", "placement")
def capacity_helps(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """If all guests have a host, they still have one when a host is larger."""
    places = _place(policy, guests, hosts)
    if (places < 0).any():
        return
    for host in range(len(hosts)):
        for extra in (5.0, 20.0):
            capacity = hosts.capacity.copy()
            capacity[host] += extra
            larger = _place(policy, guests, replace(hosts, capacity=capacity))
            require(
                bool((larger >= 0).all()),
                "capacity-helps",
                policy,
                f"with {extra:g} more on {hosts.names[host]}: " + _show(guests, hosts, larger),
            )
