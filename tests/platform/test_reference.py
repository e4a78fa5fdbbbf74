"""The reference pages are what the code says today, and say what is known about x86."""

from pathlib import Path

import pytest

from virtsim.platform.events import EVENTS
from virtsim.platform.layers import LAYER_KINDS
from virtsim.platform.primitives import PRIMITIVES
from virtsim.platform.reference import PAGES
from virtsim.platform.sensitive import CLASSES, INSTRUCTIONS, TECHNIQUES, how, virtualizable
from virtsim.platform.stack import load_stack

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_in_the_docs_is_the_one_the_code_makes(name):
    path = DOCS / name
    assert path.is_file()
    assert path.read_text(encoding="utf-8") == PAGES[name](), (
        f'write {path} anew: python -c "from virtsim.platform.reference import PAGES; '
        f"open('docs/reference/{name}', 'w').write(PAGES['{name}']())\""
    )


def test_every_primitive_event_and_layer_has_its_line():
    page, layers = PAGES["primitives-and-events.md"](), PAGES["layers-stacks-hosts.md"]()
    assert all(f"`{name}`" in page for name in (*PRIMITIVES, *EVENTS))
    assert all(f"## `{name}`" in layers for name in LAYER_KINDS)


def test_every_meaning_is_a_sentence():
    for table in (PRIMITIVES, EVENTS):
        for name, entry in table.items():
            assert entry.meaning.endswith("."), name
            assert entry.meaning[0].isupper(), name


def test_x86_is_not_classically_virtualizable_until_the_offenders_are_taken_away():
    assert not virtualizable()
    assert virtualizable(tuple(i for i in INSTRUCTIONS if i.privileged))
    assert {i.kind for i in INSTRUCTIONS} <= set(CLASSES)
    assert all(i.event in EVENTS for i in INSTRUCTIONS if i.event)


@pytest.mark.parametrize(
    ("instruction", "stack", "words"),
    [
        ("CPUID", "kvm", "exit"),
        ("CPUID", "hosted-bt", "call-out"),
        ("CPUID", "tcg", "function of the emulator"),
        ("MOV to CR3", "kvm", "runs directly"),
        ("MOV to CR3", "kvm-shadow", "exit"),
        ("MOV to CR3", "xen-pv", "hypercall"),
        ("SYSCALL, SYSENTER", "kvm", "runs directly"),
        ("SYSCALL, SYSENTER", "hosted-bt", "translated entry"),
        ("SYSCALL, SYSENTER", "pvm", "direct switch"),
        ("SYSCALL, SYSENTER", "uml", "stops the traced process"),
        ("POPF", "hosted-bt", "replaced in the code cache"),
        ("POPF", "kvm", "runs directly"),
        ("POPF", "xen-pv", "kept in shared memory"),
        ("write to a page table", "kvm-shadow", "caught late, at the next flush"),
        ("write to a page table", "hosted-bt", "adapted in the code cache"),
        ("write to a page table", "uml", "host call (mapping)"),
        ("write to a page table", "tcg", "translated"),
        ("SGDT, SIDT, SLDT, STR", "hosted-bt", "replaced in the code cache"),
        ("LGDT, LIDT, LLDT, LTR", "xen-pv", "hypercall"),
        ("VMLAUNCH, VMRESUME", "kvm", "exit"),
        ("VMLAUNCH, VMRESUME", "xen-pv", "not offered to guests"),
        ("RDMSR, WRMSR", "uml", "not used by this kernel"),
    ],
)
def test_each_technique_gets_hold_of_instructions_in_its_own_way(instruction, stack, words):
    found = next(i for i in INSTRUCTIONS if i.name == instruction)
    assert stack in TECHNIQUES
    assert how(found, load_stack(stack)) == words
