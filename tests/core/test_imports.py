"""Heavy libraries are imported where they are used, not where they are named."""

import subprocess
import sys

import pytest

HEAVY = ("pandas", "scipy", "matplotlib", "networkx", "typer", "rich", "joblib", "distributed", "hypothesis", "tqdm")


@pytest.mark.parametrize(
    "code",
    [
        "import virtsim",
        "import virtsim.experiment.replicate, virtsim.experiment.folder",
        "import virtsim.results.runset, virtsim.results.statistics, virtsim.results.trace, virtsim.results.manifest",
        "import virtsim.machine, virtsim.engine.sharing, virtsim.engine.links",
        "import virtsim.plots",
    ],
)
def test_nothing_heavy_is_imported(code):
    check = f"import sys; {code}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
