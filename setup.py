"""What pyproject.toml cannot say: the cards in ``models/`` are installed as the folder ``virtsim/models``, and
the scheduler's heart is compiled where there are Cython and a C compiler (see ``virtsim/core/variant.py``)."""

import os
import runpy
from pathlib import Path

from setuptools import Extension, find_packages, setup

PACKAGE = Path("virtsim")
# No fused multiply-add: drawn durations are the interpreter's, to the bit.
FLAGS = ["-O2", "-ffp-contract=off", "-fno-strict-aliasing"]
DIRECTIVES = {
    "language_level": 3,
    "infer_types": True,
    "annotation_typing": False,
    "wraparound": False,
    "auto_pickle": False,
}


def extensions() -> list[Extension]:
    """The heart's modules; without Cython, or where one does not compile, it is interpreted."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    variant = runpy.run_path(str(PACKAGE / "core" / "variant.py"), run_name="setup")
    sources = variant["sources"](PACKAGE)
    depends = [str(file) for folder in variant["FOLDERS"] for file in (PACKAGE / folder).glob("*.p*")]
    made = [
        Extension(
            name,
            [str(source)],
            depends=depends,
            define_macros=[("VIRTSIM_DIGEST", f"{variant['digest'](PACKAGE)}u")],
            extra_compile_args=FLAGS,
        )
        for name, source in sources.items()
    ]
    translated = cythonize(made, build_dir="build/cython", compiler_directives=DIRECTIVES, quiet=True)
    for extension in translated:
        # Set here, because translation makes extensions of its own, which forget it.
        extension.optional = True
    return translated


cards = ["virtsim.models", *(f"virtsim.models.{path.name}" for path in Path("models").iterdir() if path.is_dir())]
setup(
    packages=[*find_packages(include=["virtsim", "virtsim.*"]), *cards],
    package_dir={"virtsim.models": "models"},
    package_data={"": ["*.toml"]},
    ext_modules=extensions(),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
