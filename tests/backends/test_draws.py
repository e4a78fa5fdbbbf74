"""The runner draws the very same nanoseconds as the model."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtsim.backends.build import compiled_runner
from virtsim.backends.image import Plan
from virtsim.backends.program import add_draw
from virtsim.core.streams import SplitMix64
from virtsim.workload.draw import Draw

_TEXTS = (
    "7us",
    "uniform(1ms, 2ms)",
    "exponential(1ms)",
    "exponential(1ns)",
    "lognormal(1ms, 0.5)",
    "lognormal(20ms, 10)",
    "pareto(1ms, 1.5)",
    "pareto(1s, 1.01)",
    "hyperexponential(1ms, 1)",
    "hyperexponential(1ms, 7.5)",
    "empirical(1ms, 1ms, 4ms)",
)


def _drawn_by_the_runner(draws: list[Draw], seeds: list[int], count: int) -> list[list[int]]:
    plan = Plan()
    for draw, seed in zip(draws, seeds):
        add_draw(plan, draw, seed)
    image = plan.image()
    try:
        command = [compiled_runner().path, "draws", str(image.file), str(count)]
        done = subprocess.run(command, pass_fds=[image.file], check=True, capture_output=True, text=True)
    finally:
        image.close()
    return [[int(word) for word in line.split()] for line in done.stdout.splitlines()]


@pytest.mark.needs("compiler")
def test_ten_thousand_draws_of_each_kind_agree() -> None:
    draws = [Draw.parse(text) for text in _TEXTS]
    seeds = [1 + 2**63 * (i % 2) + i for i in range(len(draws))]
    drawn = _drawn_by_the_runner(draws, seeds, 10_000)
    for draw, seed, values in zip(draws, seeds, drawn):
        rng = SplitMix64(seed)
        assert values == [draw.sample(rng) for _ in range(10_000)], str(draw)


@pytest.mark.needs("compiler")
@settings(max_examples=30)
@given(
    mean=st.integers(0, 2**60),
    shape=st.floats(1.01, 100),
    kind=st.sampled_from(["exponential", "lognormal", "pareto", "hyperexponential"]),
    seed=st.integers(0, 2**64 - 1),
)
def test_any_distribution_agrees(mean: int, shape: float, kind: str, seed: int) -> None:
    draw = Draw(kind, (mean,), 0.0 if kind == "exponential" else shape)
    rng = SplitMix64(seed)
    assert _drawn_by_the_runner([draw], [seed], 50) == [[draw.sample(rng) for _ in range(50)]]


def test_the_image_is_not_inherited_by_accident() -> None:
    image = Plan().image()
    try:
        assert not os.get_inheritable(image.file)
    finally:
        image.close()
