"""A host's delays: timers, wake-ups, migrations, and what is cold after an absence."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Duration, Spec, Text


class ColdWakeup(Spec, frozen=True, kw_only=True):
    """CPU time that a woken task needs on top of what the prices say, by how long it was away.

    Parameters
    ----------
    away : list of str or int, ns
        Absences, ascending.
    busy, idle : list of int, ns
        Extra CPU time after each: with another task on the CPU meanwhile, and with none.
    source, date : str
        Where the numbers are from.
    """

    away: Annotated[list[Duration], Meta(min_length=1, max_length=100)]
    busy: list[Annotated[int, Meta(ge=0)]]
    idle: list[Annotated[int, Meta(ge=0)]]
    source: Text
    date: Text

    def _check(self) -> None:
        if not len(self.away) == len(self.busy) == len(self.idle):
            raise SpecError("away", "away, busy and idle have one number each for every absence")
        if self.away[0] <= 0 or any(one >= other for one, other in zip(self.away, self.away[1:])):
            raise SpecError("away", "absences are positive and ascending")

    @property
    def points(self) -> tuple[tuple[int, int, int], ...]:
        """(away, busy, idle), ns."""
        return tuple((int(away), busy, idle) for away, busy, idle in zip(self.away, self.busy, self.idle))


class Timing(Spec, frozen=True, kw_only=True):
    """Delays: time that passes before something happens, without a CPU being used for it.

    Parameters
    ----------
    timer_latency : Parameter, ns
        From a timer's expiry (slack included) until its task is runnable, on a busy CPU.
    timer_latency_quantiles : list of int, ns
        Evenly spaced quantiles of the same, ascending; the single value stands for all if empty.
    wakeup_same_cpu : Parameter, ns
        From waking a task until it can be switched to on the waker's own CPU.
    wakeup_idle_cpu : Parameter, ns
        From waking a task on another CPU that is idle until it runs.
    idle_exit : Parameter, ns
        Time an idle CPU takes to answer an interrupt, on top of the above for timers.
    idle_exit_quantiles : list of int, ns
        Evenly spaced quantiles of the same, ascending; the single value stands for all if empty.
    timer_slack : Parameter, ns
        The kernel's default for tasks of the fair class.
    migration_cost : Parameter, ns
        A task that ran more recently than this counts as cache-hot to the balancer.
    migration_same_cache, migration_other_cache, migration_other_node : Parameter, optional, ns
        Extra CPU time of a task that was moved to another core of its last-level cache, to another cache of its
        memory node, to another node at distance 20 (in proportion to the distance elsewhere); none if absent.
    balance_look : Parameter, optional, ns
        Time it takes to look at one CPU when balancing; none if absent.
    foreign_share : Parameter, optional
        Share (unit ``1``) of a CPU's time that goes to others while a run keeps it busy; none if absent.
    cold : ColdWakeup, optional
        What a task finds cold when it wakes; nothing if absent.
    """

    timer_latency: Parameter
    timer_latency_quantiles: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=1000)] = []
    wakeup_same_cpu: Parameter
    wakeup_idle_cpu: Parameter
    idle_exit: Parameter
    idle_exit_quantiles: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=1000)] = []
    timer_slack: Parameter
    migration_cost: Parameter
    migration_same_cache: Parameter | None = None
    migration_other_cache: Parameter | None = None
    migration_other_node: Parameter | None = None
    balance_look: Parameter | None = None
    foreign_share: Parameter | None = None
    cold: ColdWakeup | None = None

    def _check(self) -> None:
        for name in self.__struct_fields__:
            parameter = getattr(self, name)
            if not isinstance(parameter, Parameter):
                continue
            unit = "1" if name == "foreign_share" else "ns"
            if parameter.unit != unit:
                raise SpecError(f"{name}.unit", f"must be {unit!r}, not {parameter.unit!r}")
            if parameter.value is not None and parameter.value < 0:
                raise SpecError(f"{name}.value", "a delay is at least 0")

    def ns(self, name: str) -> int:
        """One of the delays as whole ns; 0 for an optional one that is absent."""
        parameter: Parameter | None = getattr(self, name)
        return 0 if parameter is None else round(parameter.known(f"timing.{name}"))
