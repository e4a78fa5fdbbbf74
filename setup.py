"""What pyproject.toml cannot say: the cards in ``models/`` are installed as the folder ``virtsim/models``."""

from pathlib import Path

from setuptools import find_packages, setup

cards = ["virtsim.models", *(f"virtsim.models.{path.name}" for path in Path("models").iterdir() if path.is_dir())]
setup(
    packages=[*find_packages(include=["virtsim", "virtsim.*"]), *cards],
    package_dir={"virtsim.models": "models"},
    package_data={"": ["*.toml"]},
)
