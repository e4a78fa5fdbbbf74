"""What policies must keep: each law has a name, a sentence, and a check of one instance.

A check raises :class:`LawBroken` with the instance's numbers; Hypothesis then looks for the smallest one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from virtsim.cluster.policies.book import Book
from virtsim.cluster.policies.bounds import lower_bound
from virtsim.cluster.policies.selection import Candidates, check_pick
from virtsim.cluster.policies.situation import Situation, check_moves
from virtsim.cluster.policies.tables import CPU, Guests, Hosts, check_answer
from virtsim.core.errors import ModelError


class LawBroken(AssertionError):
    """A policy does not keep a law."""


@dataclass(frozen=True)
class Law:
    """One law.

    Attributes
    ----------
    name : str
        What policies that do not keep it name in ``breaks``.
    kind : str
        ``placement``, ``packing`` (placement of guests on equal, empty hosts), ``detector``, ``selection``,
        ``consolidation``.
    meaning : str
        One sentence.
    check : callable
        Called with a policy and an instance.
    """

    name: str
    kind: str
    meaning: str
    check: Callable[..., None]


LAWS: dict[str, Law] = {}


def law(name: str, kind: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a check; its docstring is the law's meaning."""

    def store(check: Callable[..., None]) -> Callable[..., None]:
        meaning = (check.__doc__ or "").strip()
        LAWS[name] = Law(name, kind, meaning, check)
        return check

    return store


def _random() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(7))


def _demand(condition: bool, law_name: str, policy: object, what: str) -> None:
    if not condition:
        raise LawBroken(f"{type(policy).__name__} breaks {law_name!r} ({LAWS[law_name].meaning}) {what}")


def _place(policy: Any, guests: Guests, hosts: Hosts) -> np.ndarray:
    """The policy's answer, which must at least be one."""
    name = type(policy).__name__
    answer = policy.place(guests, hosts, _random())
    try:
        return check_answer(answer, guests, hosts, name)
    except ModelError as problem:
        law_name = "answers-for-all"
        text = str(problem)
        if "which has" in text:
            law_name = "room-is-kept"
        elif "not available" in text:
            law_name = "only-where-allowed"
        elif "must be apart" in text:
            law_name = "apart-is-kept"
        raise LawBroken(f"{name} breaks {law_name!r}: {problem}") from None


def _show(guests: Guests, hosts: Hosts, places: np.ndarray) -> str:
    needs = [(name, *need) for name, need in zip(guests.names, guests.need.tolist())]
    rooms = [(name, *free) for name, free in zip(hosts.names, hosts.free.tolist())]
    return f"guests (name, CPU, memory) {needs}, hosts (name, free CPU, free memory) {rooms}, answer {places.tolist()}"


# -- placement --------------------------------------------------------------------------------------------


@law("answers-for-all", "placement")
def answers_for_all(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """Every guest gets exactly one answer, a host that exists or none: no guest is lost or duplicated."""
    _place(policy, guests, hosts)


@law("room-is-kept", "placement")
def room_is_kept(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """No host is given more than it has of any resource."""
    _place(policy, guests, hosts)


@law("only-where-allowed", "placement")
def only_where_allowed(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """Nothing is put on a host that failed or is closed."""
    _place(policy, guests, hosts)


@law("apart-is-kept", "placement")
def apart_is_kept(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """Guests that must be apart never share a host, nor go where another of their group is already."""
    _place(policy, guests, hosts)


@law("same-seed-same-answer", "placement")
def same_seed_same_answer(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """The same question and seed give the same answer."""
    first, second = _place(policy, guests, hosts), _place(policy, guests, hosts)
    _demand(bool((first == second).all()), "same-seed-same-answer", policy, _show(guests, hosts, second))


@law("host-names-do-not-matter", "placement")
def host_names_do_not_matter(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """With the names of hosts exchanged, the same guests share a host as before."""
    first = _place(policy, guests, hosts)
    renamed = replace(hosts, names=[f"zz{i}" for i in range(len(hosts), 0, -1)])
    second = _place(policy, guests, renamed)
    _demand(_groups(first) == _groups(second), "host-names-do-not-matter", policy, _show(guests, hosts, first))


@law("order-of-equals-does-not-matter", "packing")
def order_of_equals(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """Equal hosts in another order are used in the same groups, and as many of them."""
    first = _place(policy, guests, hosts)
    order = list(range(len(hosts)))[::-1]
    turned = replace(hosts, names=[hosts.names[i] for i in order])
    second = _place(policy, guests, turned)
    _demand(_groups(first) == _groups(second), "order-of-equals-does-not-matter", policy, _show(guests, hosts, first))


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
        _demand(
            not fits.any(), "no-needless-refusal", policy, f"for {guests.names[guest]}: " + _show(guests, hosts, places)
        )


@law("not-more-hosts-than-guests", "packing")
def not_more_hosts_than_guests(policy: Any, guests: Guests, hosts: Hosts) -> None:
    """Never more hosts than one each, and never fewer than the lower bound."""
    # Counted before the answer is checked, so that a policy that overbooks breaks this law, too.
    places = np.asarray(policy.place(guests, hosts, _random()))
    used = len(set(places[places >= 0].tolist()))
    _demand(used <= int((places >= 0).sum()), "not-more-hosts-than-guests", policy, _show(guests, hosts, places))
    if (places >= 0).all():
        least = lower_bound(guests, hosts)
        _demand(used >= least, "not-more-hosts-than-guests", policy, f"bound {least}: " + _show(guests, hosts, places))


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
    _demand(used <= limit, "within-ratio", policy, f"{used} hosts, optimum {optimum}: {sizes.tolist()} of {capacity}")


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
            _demand(
                bool((larger >= 0).all()),
                "capacity-helps",
                policy,
                f"with {extra:g} more on {hosts.names[host]}: " + _show(guests, hosts, larger),
            )


# -- overload detection -----------------------------------------------------------------------------------


def _overloaded(detector: Any, history: np.ndarray, law_name: str) -> np.ndarray:
    mask = np.asarray(detector.overloaded(history.copy()))
    _demand(
        mask.shape == (len(history),) and mask.dtype == bool,
        law_name,
        detector,
        f"the answer has shape {mask.shape} and type {mask.dtype}, for {len(history)} hosts",
    )
    return mask


@law("one-answer-a-host", "detector")
def one_answer_a_host(detector: Any, history: np.ndarray) -> None:
    """One truth value a host, the same when asked again, and the history is left as it was."""
    before = history.copy()
    first, second = detector.overloaded(history), detector.overloaded(history)
    _demand(bool((history == before).all()), "one-answer-a-host", detector, "the history was changed")
    _overloaded(detector, history, "one-answer-a-host")
    same = bool((np.asarray(first) == np.asarray(second)).all())
    _demand(same, "one-answer-a-host", detector, f"two answers: {history.tolist()}")


@law("each-host-by-itself", "detector")
def each_host_by_itself(detector: Any, history: np.ndarray) -> None:
    """Whether a host is overloaded does not depend on the other hosts, nor on its place among them."""
    mask = _overloaded(detector, history, "each-host-by-itself")
    turned = _overloaded(detector, history[::-1], "each-host-by-itself")[::-1]
    alone = np.concatenate([_overloaded(detector, row[None, :], "each-host-by-itself") for row in history])
    same = bool((mask == turned).all() and (mask == alone).all())
    _demand(same, "each-host-by-itself", detector, f"{history.tolist()}")


@law("idle-is-not-overloaded", "detector")
def idle_is_not_overloaded(detector: Any, history: np.ndarray) -> None:
    """A host that has always been idle is not overloaded."""
    mask = _overloaded(detector, np.zeros_like(history), "idle-is-not-overloaded")
    _demand(not mask.any(), "idle-is-not-overloaded", detector, f"{history.shape[1]} samples of 0")


@law("beyond-full-is-overloaded", "detector")
def beyond_full_is_overloaded(detector: Any, history: np.ndarray) -> None:
    """A host of which more is asked than it has, now and always, is overloaded."""
    mask = _overloaded(detector, np.full_like(history, 1.05), "beyond-full-is-overloaded")
    _demand(bool(mask.all()), "beyond-full-is-overloaded", detector, f"{history.shape[1]} samples of 1.05")


@law("more-load-is-no-relief", "detector")
def more_load_is_no_relief(detector: Any, history: np.ndarray) -> None:
    """A host that is overloaded stays so if more is asked of it now."""
    mask = _overloaded(detector, history, "more-load-is-no-relief")
    more = history.copy()
    more[:, -1] += 0.1
    relieved = mask & ~_overloaded(detector, more, "more-load-is-no-relief")
    _demand(
        not relieved.any(), "more-load-is-no-relief", detector, f"{history[relieved].tolist()} with 0.1 more at last"
    )


# -- selection --------------------------------------------------------------------------------------------


def _pick(selection: Any, guests: Candidates) -> int:
    try:
        return check_pick(selection.pick(guests, _random()), guests, type(selection).__name__)
    except ModelError as problem:
        raise LawBroken(f"{type(selection).__name__} breaks 'picks-one-of-them': {problem}") from None


@law("picks-one-of-them", "selection")
def picks_one_of_them(selection: Any, guests: Candidates) -> None:
    """The answer is the number of one of the guests."""
    _pick(selection, guests)


@law("same-seed-same-pick", "selection")
def same_seed_same_pick(selection: Any, guests: Candidates) -> None:
    """The same guests and seed give the same answer."""
    _demand(_pick(selection, guests) == _pick(selection, guests), "same-seed-same-pick", selection, f"{guests}")


@law("guest-names-do-not-matter", "selection")
def guest_names_do_not_matter(selection: Any, guests: Candidates) -> None:
    """Other names, same answer."""
    renamed = replace(guests, names=tuple(f"zz{i}" for i in range(len(guests), 0, -1)))
    same = _pick(selection, guests) == _pick(selection, renamed)
    _demand(same, "guest-names-do-not-matter", selection, f"{guests}")


@law("order-of-guests-does-not-matter", "selection")
def order_of_guests_does_not_matter(selection: Any, guests: Candidates) -> None:
    """The guests in another order, the same guest is picked (no two of them are alike)."""
    order = list(range(len(guests)))[::-1]
    turned = Candidates(
        tuple(guests.names[i] for i in order),
        guests.demand[order],
        guests.memory[order],
        guests.history[order],
        guests.bandwidth,
    )
    same = order[_pick(selection, turned)] == _pick(selection, guests)
    _demand(same, "order-of-guests-does-not-matter", selection, f"{guests}")


# -- consolidation ----------------------------------------------------------------------------------------


def _moves(policy: Any, situation: Situation, law_name: str = "moves-are-possible") -> list[tuple[int, int]]:
    try:
        moves = check_moves(policy.decide(situation, _random()), situation, type(policy).__name__)
    except ModelError as problem:
        raise LawBroken(f"{type(policy).__name__} breaks {law_name!r}: {problem}") from None
    return [(move.guest, move.host) for move in moves]


@law("moves-are-possible", "consolidation")
def moves_are_possible(policy: Any, situation: Situation) -> None:
    """Moves name guests and hosts that exist, no guest twice, keep all capacities, and keep apart what must be."""
    _moves(policy, situation)


@law("moves-change-something", "consolidation")
def moves_change_something(policy: Any, situation: Situation) -> None:
    """No guest is moved to the host it is on."""
    still = [guest for guest, host in _moves(policy, situation) if situation.place[guest] == host]
    _demand(not still, "moves-change-something", policy, f"guests {still} are moved to where they are")


@law("fixed-guests-stay", "consolidation")
def fixed_guests_stay(policy: Any, situation: Situation) -> None:
    """A guest that may not be moved is not moved."""
    n = len(situation.guests)
    _moves(policy, replace(situation, movable=np.arange(n) % 2 == 0), "fixed-guests-stay")


@law("same-seed-same-moves", "consolidation")
def same_seed_same_moves(policy: Any, situation: Situation) -> None:
    """The same situation and seed give the same moves."""
    _demand(_moves(policy, situation) == _moves(policy, situation), "same-seed-same-moves", policy, _story(situation))


@law("names-do-not-matter", "consolidation")
def names_do_not_matter(policy: Any, situation: Situation) -> None:
    """With the hosts' names exchanged, the same guests move to the same hosts."""
    m = len(situation.hosts)
    renamed = replace(situation, hosts=replace(situation.hosts, names=[f"zz{i}" for i in range(m, 0, -1)]))
    _demand(_moves(policy, situation) == _moves(policy, renamed), "names-do-not-matter", policy, _story(situation))


#: Decisions after which a policy must have come to rest under a steady load.
ROUNDS_TO_REST = 40


@law("steady-load-comes-to-rest", "consolidation")
def steady_load_comes_to_rest(policy: Any, situation: Situation) -> None:
    """Under a load that never changes, the policy sooner or later moves nobody any more."""
    samples = situation.host_history.shape[1]
    for _ in range(ROUNDS_TO_REST):
        moves = _moves(policy, situation)
        if not moves:
            return
        situation = after(situation, moves, samples)
    _demand(
        False,
        "steady-load-comes-to-rest",
        policy,
        f"{len(moves)} moves in decision {ROUNDS_TO_REST}: {_story(situation)}",
    )


def after(situation: Situation, moves: list[tuple[int, int]], samples: int) -> Situation:
    """The situation at the next decision if every guest goes on asking for what it asks for now."""
    place = situation.place.copy()
    for guest, host in moves:
        place[guest] = host
    hosts, guests = situation.hosts, situation.guests
    used = np.zeros_like(hosts.used)
    np.add.at(used, place, guests.need)
    load = np.bincount(place, situation.demand, minlength=len(hosts)) / hosts.capacity[:, CPU]
    history = np.concatenate([situation.host_history, load[:, None]], axis=1)[:, -samples:]
    past = np.concatenate([situation.guest_history, situation.guest_history[:, -1:]], axis=1)[:, -samples:]
    words = [
        frozenset(guests.apart[g] for g in np.flatnonzero(place == h).tolist() if guests.apart[g])
        for h in range(len(hosts))
    ]
    busy = np.bincount(place, minlength=len(hosts)) > 0
    return replace(
        situation,
        hosts=replace(hosts, used=used, running=busy, apart=words),
        place=place,
        host_history=history,
        guest_history=past,
    )


def _story(situation: Situation) -> str:
    guests = situation.guests
    on = [(guests.names[i], *guests.need[i].tolist(), int(situation.place[i])) for i in range(len(guests))]
    return f"guests (name, CPU, memory, host) {on}, hosts {situation.hosts.capacity.tolist()}"
