"""The fair class's feature switches, and which kernel came with which.

Names are those of the kernel's ``sched/features`` file (debugfs); only those that the model honours are known.
A switch that a kernel does not have yet is off, or for one that a later kernel took away, on.
One that was off later may still be turned on there.

References
----------
Linux ``kernel/sched/features.h`` of the releases: 2.6.23 to 6.5 (CFS), 6.6 (the first with EEVDF), 6.12
(delayed dequeue, slices of the task's own, deadlines kept over moves), 6.17 (protection up to the shortest slice),
6.19 (``NI_RANDOM``, which the stable releases of 6.18 have as well). ``RT_RUNTIME_SHARE``: what it switches came with
2.6.26, it is off since 5.10, and since 6.12 of effect only with ``RT_GROUP_SCHED``.
"""

from __future__ import annotations

from virtsim.core.errors import SpecError

Version = tuple[int, int]

#: Switches of CFS, by the first release in which they are on.
CFS: dict[str, Version] = {
    "START_DEBIT": (2, 6),
    "GENTLE_FAIR_SLEEPERS": (2, 6),
    "WAKEUP_PREEMPTION": (2, 6),
    "LAST_BUDDY": (2, 6),
    "RT_RUNTIME_SHARE": (2, 6),
    "UTIL_EST": (4, 17),
    "ALT_PERIOD": (5, 13),
    "BASE_SLICE": (5, 13),
}
#: Switches of EEVDF, likewise.
EEVDF: dict[str, Version] = {
    "WAKEUP_PREEMPTION": (6, 6),
    "PLACE_LAG": (6, 6),
    "PLACE_DEADLINE_INITIAL": (6, 6),
    "RUN_TO_PARITY": (6, 6),
    "UTIL_EST": (6, 6),
    "PREEMPT_SHORT": (6, 12),
    "PLACE_REL_DEADLINE": (6, 12),
    "DELAY_DEQUEUE": (6, 12),
    "DELAY_ZERO": (6, 12),
    "NI_RANDOM": (6, 18),
}
#: Switches that are off again, by the first release in which they are.
LATER_OFF: dict[str, Version] = {"RT_RUNTIME_SHARE": (5, 10)}
#: Off in all of them unless somebody turns them on. The last two are no switches: an option of the build, and a patch
#: of kernels for guests (``sched_vcpu_pack`` on their command line).
OFF = {
    "cfs": ("HRTICK", "NEXT_BUDDY", "RT_GROUP_SCHED", "VCPU_PACK"),
    "eevdf": ("HRTICK", "RT_RUNTIME_SHARE", "RT_GROUP_SCHED", "VCPU_PACK"),
}
_ON = {"cfs": CFS, "eevdf": EEVDF}


def default_features(scheduler: str, version: Version) -> frozenset[str]:
    """The switches that are on in a kernel as it is released.

    Parameters
    ----------
    scheduler : str
        ``"eevdf"`` or ``"cfs"``.
    version : (int, int)
        Of the kernel.
    """
    return frozenset(
        name
        for name, since in _ON[scheduler].items()
        if version >= since and not (name in LATER_OFF and version >= LATER_OFF[name])
    )


def features(scheduler: str, version: Version, changes: dict[str, bool]) -> frozenset[str]:
    """The switches that are on in a kernel where some were changed by hand.

    Raises
    ------
    SpecError
        If a name is not a switch of that scheduler, or a release did not have it yet.
    """
    since = _ON[scheduler] | dict.fromkeys(OFF[scheduler], (0, 0))
    for name, on in changes.items():
        if name not in since:
            known = ", ".join(sorted(since))
            raise SpecError(f"features.{name}", f"is not a feature of {scheduler!r} that is modelled; known: {known}")
        if on and version < since[name]:
            number = ".".join(map(str, since[name]))
            raise SpecError(f"features.{name}", f"came with Linux {number}; the kernel is older")
    chosen = default_features(scheduler, version) - {name for name, on in changes.items() if not on}
    return chosen | {name for name, on in changes.items() if on}
