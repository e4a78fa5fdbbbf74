"""What must hold in a data centre whatever happens in it: checked after every step of ``ConsolidationMachine``."""

from __future__ import annotations

from typing import Any

import numpy as np

from virtsim.cluster.plant import HostState
from virtsim.cluster.policies.tables import MEMORY
from virtsim.testing.laws import law, require


@law("no-guest-is-lost", "data centre")
def no_guest_is_lost(centre: Any) -> None:
    """Every guest that is alive is on exactly one host or waits; one that departed is nowhere."""
    found = [guest for on in centre.plant.on for guest in on]
    require(len(found) == len(set(found)), "no-guest-is-lost", centre, f"a guest is on two hosts: {found}")
    lost = centre.alive ^ (set(found) | centre.waiting)
    require(not lost, "no-guest-is-lost", centre, f"guests {sorted(lost)} were lost, or departed and are still here")
    twice = set(found) & centre.waiting
    require(not twice, "no-guest-is-lost", centre, f"guests {sorted(twice)} wait and have a host")
    for host, on in enumerate(centre.plant.on):
        same = all(centre.plant.host_of[guest] == host for guest in on)
        require(same, "no-guest-is-lost", centre, f"the lists of host {host} disagree")


@law("nothing-on-a-host-that-is-off", "data centre")
def nothing_on_a_host_that_is_off(centre: Any) -> None:
    """No guest is on a host that is off, asleep or failed."""
    for host in np.flatnonzero(centre.plant.state != HostState.ON).tolist():
        name = centre.fleet.names[host]
        empty = not centre.plant.on[host]
        require(empty, "nothing-on-a-host-that-is-off", centre, f"guests {list(centre.plant.on[host])} on {name}")


@law("memory-is-kept", "data centre")
def memory_is_kept(centre: Any) -> None:
    """No host has more memory given out than it has."""
    for host, on in enumerate(centre.plant.on):
        memory = sum(float(centre.own.memory[guest]) for guest in on)
        fine = memory <= centre.fleet.capacity[host, MEMORY]
        require(fine, "memory-is-kept", centre, f"{memory:g} bytes on {centre.fleet.names[host]}")


@law("apart-stays-apart", "data centre")
def apart_stays_apart(centre: Any) -> None:
    """Guests that must be apart are never on one host, at no time."""
    for host, on in enumerate(centre.plant.on):
        words = [centre.own.apart[guest] for guest in on if centre.own.apart[guest]]
        fine = len(words) == len(set(words))
        require(fine, "apart-stays-apart", centre, f"guests of {words} share {centre.fleet.names[host]}")


@law("energy-is-conserved", "data centre")
def energy_is_conserved(centre: Any) -> None:
    """Host by host, the energy is the sum of power over time, added up by hand."""
    same = np.allclose(centre.plant.energy_j, centre.by_hand, rtol=1e-9, atol=1e-6)
    shown = f"{centre.plant.energy_j.tolist()} J, by hand {centre.by_hand.tolist()} J"
    require(same, "energy-is-conserved", centre, shown)


@law("work-is-conserved", "data centre")
def work_is_conserved(centre: Any) -> None:
    """Work lost is at least 0, and at most the work that was asked for."""
    plant = centre.plant
    lost = plant.work_stolen + plant.work_migrating + plant.work_paging
    fine = bool((lost <= plant.work_asked * (1 + 1e-9) + 1e-6).all() and (lost >= -1e-6).all())
    require(fine, "work-is-conserved", centre, f"lost {lost.tolist()} of {plant.work_asked.tolist()} MI")
