"""What the card of this machine says about its kernel."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from virtsim.backends import kernel
from virtsim.backends.build import compiled_runner
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
    monkeypatch.setattr(kernel, "cpuid_ns", lambda _: [])
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


@pytest.mark.parametrize(
    ("told", "files", "found"),
    [
        ("monitor KVMKVMKVM\ncpuid 4400.0\n", {}, "KVM"),
        ("monitor Microsoft Hv\ncpuid 900.0\n", {}, "Hyper-V"),
        ("monitor SomeNewOne\ncpuid 900.0\n", {}, "SomeNewOne"),
        ("cpuid 40.0\n", {}, ""),
        ("", {"/sys/hypervisor/type": "xen"}, "xen"),
        ("", {"/proc/cpuinfo": "flags\t\t: fpu hypervisor lahf_lm"}, "an unknown monitor"),
        ("", {"/proc/cpuinfo": "flags\t\t: fpu lahf_lm"}, ""),
    ],
)
def test_a_monitor_below_is_found_by_what_the_machine_tells(monkeypatch, told, files, found):
    monkeypatch.setattr(kernel, "_machine", lambda _: told)
    monkeypatch.setattr(kernel, "_read", lambda path: files.get(path, ""))
    assert kernel.monitor(Path("runner")) == found


@pytest.mark.parametrize("monitor", ["KVM", ""])
def test_the_card_says_whether_the_machine_is_virtual_and_what_cpuid_takes_there(monkeypatch, monitor):
    monkeypatch.setattr(card, "compiled_runner", lambda: SimpleNamespace(path=Path("runner")))
    monkeypatch.setattr(kernel, "facts", lambda _: {"release": "6.18.9", "hz": 250, "monitor": monitor})
    monkeypatch.setattr(kernel, "cpuid_ns", lambda _: [42.0, 40.0, 41.0])
    made = card.machine_card(reference_card())
    assert made.virtual == made.outer_monitor == monitor
    assert (made.prices["cpuid"].low, made.price("cpuid"), made.prices["cpuid"].high) == (40.0, 41.0, 42.0)
    assert made.prices["cpuid"].source.startswith("measured: CPUID in a loop")
    assert ("vm_exit" in made.prices) == (monitor == "")
    assert ("a virtual machine of KVM" in made.description) == (monitor == "KVM")


@pytest.mark.needs("compiler")
def test_the_runner_tells_what_cpuid_takes_where_there_is_such_an_instruction():
    runner = compiled_runner().path
    times_ns = kernel.cpuid_ns(runner)
    assert bool(times_ns) == (os.uname().machine in ("x86_64", "i686"))
    assert all(10 < ns < 1_000_000 for ns in times_ns)
