"""Laws for policies, checked by Hypothesis: three lines in your own test file.

    from virtsim.testing import check_placement
    def test_my_placement():
        check_placement(MyPlacement)

:mod:`strategies` makes hosts, guests, clusters, demand and failures; :mod:`laws` says what a law is, and
:mod:`placement_laws`, :mod:`detector_laws` and so on what each kind of policy must keep; :mod:`checks` runs them;
:mod:`machine` is a data centre in which anything may happen. Needs Hypothesis (``pip install virtsim[testing]``). May
import everything below it.
"""

from virtsim.testing.checks import (
    LawBroken,
    check_consolidation,
    check_detector,
    check_migration,
    check_placement,
    check_selection,
)
from virtsim.testing.laws import LAWS, Law
from virtsim.testing.machine import ConsolidationMachine
from virtsim.testing.strategies import clusters, demand_traces, failures, guests, hosts

__all__ = [
    "LAWS",
    "ConsolidationMachine",
    "Law",
    "LawBroken",
    "check_consolidation",
    "check_detector",
    "check_migration",
    "check_placement",
    "check_selection",
    "clusters",
    "demand_traces",
    "failures",
    "guests",
    "hosts",
]
