"""The image's layout is read from the runner's header as the compiler sees it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from virtsim.backends.build import find_compiler
from virtsim.backends.image import TABLES, Plan
from virtsim.backends.layout import RUNNER, WORD, layout, parse
from virtsim.results.histogram import SUB_BITS, bucket_of
from virtsim.workload import operations
from virtsim.workload.draw import KINDS


def test_every_operation_of_the_runner_has_an_opcode_in_the_same_order() -> None:
    simulated = (*operations.DEVICE_OPERATIONS, operations.SpinLock, operations.SpinUnlock, operations.Work)
    run = [kind for kind in operations.Operation.__args__ if kind not in simulated]
    tags = [str(kind.__struct_config__.tag) for kind in run]
    assert [name.removeprefix("OP_").lower() for name in layout().enums["opcode"]] == [*tags, "nothing"]
    assert layout().constants["OPCODES"] == len(tags) + 1


def test_draws_have_their_codes_in_the_same_order() -> None:
    assert tuple(name.removeprefix("DRAW_").lower() for name in layout().enums["draw_kind"]) == KINDS


def test_histograms_have_the_same_buckets() -> None:
    constants = layout().constants
    assert constants["SUB_BITS"] == SUB_BITS
    assert bucket_of((1 << constants["LARGEST_BITS"]) - 1) + 1 == constants["BUCKETS"]


def test_snapshots_have_room_for_what_is_read() -> None:
    assert layout().structs["snapshot"]["before"].words * WORD == layout().constants["SNAPSHOT_BYTES"]


def test_a_member_that_breaks_the_rules_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a 64-bit member"):
        parse("struct a {\n    int b;\n};\n")


@pytest.mark.needs("compiler")
def test_the_compiler_agrees_on_every_offset(tmp_path: Path) -> None:
    lines = [
        f'printf("%zu ", offsetof(struct {struct}, {name}));'
        for struct, all_ in layout().structs.items()
        for name in all_
    ]
    lines += [f'printf("%zu ", sizeof(struct {struct}));' for struct in layout().structs]
    source = tmp_path / "offsets.c"
    source.write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "image.h"\nint main(void) {{{"".join(lines)}}}\n'
    )
    subprocess.run([find_compiler(), "-I", RUNNER, "-o", tmp_path / "offsets", source], check=True)
    seen = [int(text) for text in subprocess.check_output([tmp_path / "offsets"]).split()]
    ours = [member.offset * WORD for members in layout().structs.values() for member in members.values()]
    assert seen == ours + [layout().sizes[struct] * WORD for struct in layout().structs]


def test_what_a_plan_says_is_what_its_image_holds() -> None:
    plan = Plan()
    for table in TABLES:
        plan.add(table)
    text = plan.text("a long text")
    words = plan.words([3, -1, 2**63 - 1])
    plan.add("draws", state=2**64 - 1, coefficients=(1, 2, -3))
    plan.header = {"duration_ns": 17}
    image = plan.image()
    try:
        row = image.row("draws", 1)
        assert (row["state"], list(row["coefficients"])) == (-1, [1, 2, -3])
        assert image.header("draws_count") == 2
        assert image.header("duration_ns") == 17
        at = image.header("texts_at") + text
        assert image.memory[at : at + 12] == b"a long text\0"
        first = image.header("words_at") // WORD + words["first"]
        assert list(image.cells[first : first + words["count"]]) == [3, -1, 2**63 - 1]
        del row
    finally:
        image.close()


def test_equal_texts_are_kept_once() -> None:
    plan = Plan()
    assert plan.text("a") == plan.text("a") != plan.text("b")
