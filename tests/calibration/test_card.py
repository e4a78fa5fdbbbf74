"""What the card of this machine says about its kernel."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from virtsim.backends import kernel
from virtsim.calibration import card
from virtsim.calibration.fit import Fit
from virtsim.platform.host import reference_card


@pytest.mark.parametrize(
    ("found", "features"),
    [
        ({}, {}),
        ({"vcpu_pack": False, "rt_group_sched": True}, {"RT_GROUP_SCHED": True}),
        ({"vcpu_pack": True, "rt_group_sched": True}, {"RT_GROUP_SCHED": True, "VCPU_PACK": True}),
    ],
)
def test_what_is_not_as_released_is_on_the_card(monkeypatch, found, features):
    monkeypatch.setattr(card, "compiled_runner", lambda: SimpleNamespace(path=Path("runner")))
    monkeypatch.setattr(kernel, "facts", lambda _: {"release": "6.18.9", "hz": 250, **found})
    assert card.machine_card(reference_card()).kernel.features == features


@pytest.mark.parametrize(
    ("line", "packs"),
    [
        ("quiet panic=1", False),
        ("quiet sched_vcpu_pack=0", False),
        ("sched_vcpu_pack=15 quiet", True),
        ("nosched_vcpu_pack=15", False),
    ],
)
def test_a_kernel_that_packs_vcpus_is_known_by_its_command_line(monkeypatch, line, packs):
    monkeypatch.setattr(kernel, "_read", lambda path: line if path == "/proc/cmdline" else "")
    assert kernel._packs_vcpus() is packs


def test_the_card_says_how_fast_the_machine_was():
    rounds_ns = [0.70, 0.71, 0.72, 0.73, 0.90]
    told = card.with_fit(reference_card(), Fit({}, {}, {}), rounds_ns=rounds_ns).reference_round
    assert (told.value, told.low, told.high, told.unit) == (0.72, 0.70, 0.90, "ns")
