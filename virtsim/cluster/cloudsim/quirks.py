"""The nine quirks of the reference benchmark, each a switch."""

from __future__ import annotations

from virtsim.core.spec import Spec


class Quirks(Spec, frozen=True, kw_only=True):
    """What CloudSim 3.0.3 does that a data centre does not; True follows it, False does the sensible thing.

    Parameters
    ----------
    file_order : bool
        Q1: which VM gets which trace is an accident of the order in which files are listed. True takes the rows
        as they are given (the reference figures: names sorted as ASCII); False shuffles them with the run's seed,
        so that the spread over seeds shows what the accident is worth.
    idle_vms_vanish : bool
        Q2: a VM whose request is exactly 0 at an update is destroyed for ever. False keeps it.
    free_energy : bool
        Q3: an interval is free for a host whose utilisation was 0 before it, the first interval is free for all,
        and the last 300 s are not simulated. False charges every host for the time it holds a VM, until 24:00.
    stale_power : bool
        Q4: the placement's baseline is the power that was last measured, even for hosts that received VMs since,
        and a sleeping host's idle power costs nothing. False compares with the power before this VM was added,
        which is 0 W for a host that is asleep.
    memory_ignored : bool
        Q5: memory and bandwidth limit the first placement only. False: every placement.
    unweighted_regression : bool
        Q6: local regression has no weights, and the robust variant is the same. False: tricube weights (LR), and
        bisquare weights that are really iterated (LRR).
    receivers_drained : bool
        Q7: a host that received VMs from overloaded hosts may be emptied in the same step, and these VMs move
        twice. False: it may not.
    receivers_violate : bool
        Q8: SLATAH counts a host as violating while a VM is on its way to it, and compares floats exactly.
        False: only what runs there counts, and a shortage below 1e-9 of the request is none.
    thrashing : bool
        Q9: nothing keeps a VM from being moved every 300 s. False: a VM that moved within the last hour is not
        moved again to empty a host.

    References
    ----------
    CloudSim 3.0.3, tag cloudsim-3.0.3, and its issues 64 (Q2) and 71 (Q1), github.com/Cloudslab/cloudsim.
    """

    file_order: bool = True
    idle_vms_vanish: bool = True
    free_energy: bool = True
    stale_power: bool = True
    memory_ignored: bool = True
    unweighted_regression: bool = True
    receivers_drained: bool = True
    receivers_violate: bool = True
    thrashing: bool = True

    def without(self, *names: str) -> Quirks:
        """The same with some quirks turned off."""
        return self.replace(**dict.fromkeys(names, False))


#: Number of each quirk in the description of the benchmark, in order.
QUIRK_NUMBERS: dict[str, str] = {name: f"Q{i}" for i, name in enumerate(Quirks.__struct_fields__, start=1)}
