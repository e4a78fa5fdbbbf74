"""virtsim: models of virtualization architectures that are checked against a real kernel.

The names here are all of the public interface that most users need; each is imported when it is first
used, so ``import virtsim`` costs next to nothing. Everything below is public too where its name has no
underscore: see the page on API stability.

Examples
--------
>>> import virtsim as vs
>>> web = vs.Guest("web", cpu_weight=200, workload=vs.workloads.spin())
>>> batch = vs.Guest("batch", cpu_weight=100, workload=vs.workloads.spin())
>>> scenario = vs.Scenario(host="epyc-guest-linux-6.18", guests=[web, batch], duration="3s", cpus="0")
>>> run = vs.simulate(scenario, seed=7)
>>> round(run.value("web", "cpu_time") / run.value("batch", "cpu_time"), 1)
2.0
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from virtsim.backends.doctor import doctor as doctor
    from virtsim.backends.observe import observe as observe
    from virtsim.calibration.calibrate import calibrate as calibrate
    from virtsim.core.errors import BackendUnavailable as BackendUnavailable
    from virtsim.core.errors import ModelError as ModelError
    from virtsim.core.errors import SpecError as SpecError
    from virtsim.core.errors import VirtsimError as VirtsimError
    from virtsim.core.streams import Streams as Streams
    from virtsim.experiment.replicate import replicate as replicate
    from virtsim.experiment.replicate import sweep as sweep
    from virtsim.machine.simulate import simulate as simulate
    from virtsim.platform.host import load_host as load_host
    from virtsim.platform.stack import load_stack as load_stack
    from virtsim.results.run import Run as Run
    from virtsim.results.runset import RunSet as RunSet
    from virtsim.results.store import load_runs as load_runs
    from virtsim.results.store import save_runs as save_runs
    from virtsim.scenario.guest import Group as Group
    from virtsim.scenario.guest import Guest as Guest
    from virtsim.scenario.guest import Isolation as Isolation
    from virtsim.scenario.scenario import Scenario as Scenario
    from virtsim.validation.compare import compare as compare
    from virtsim.validation.validate import validate as validate
    from virtsim.workload import builders as workloads
    from virtsim.workload import operations as operations
    from virtsim.workload.workload import Task as Task
    from virtsim.workload.workload import Workload as Workload

#: Where each public name lives: a module, and the name in it ("" is the module itself).
_PLACES = {
    "BackendUnavailable": ("virtsim.core.errors", "BackendUnavailable"),
    "Group": ("virtsim.scenario.guest", "Group"),
    "Guest": ("virtsim.scenario.guest", "Guest"),
    "Isolation": ("virtsim.scenario.guest", "Isolation"),
    "ModelError": ("virtsim.core.errors", "ModelError"),
    "Run": ("virtsim.results.run", "Run"),
    "RunSet": ("virtsim.results.runset", "RunSet"),
    "Scenario": ("virtsim.scenario.scenario", "Scenario"),
    "SpecError": ("virtsim.core.errors", "SpecError"),
    "Streams": ("virtsim.core.streams", "Streams"),
    "Task": ("virtsim.workload.workload", "Task"),
    "VirtsimError": ("virtsim.core.errors", "VirtsimError"),
    "Workload": ("virtsim.workload.workload", "Workload"),
    "calibrate": ("virtsim.calibration.calibrate", "calibrate"),
    "compare": ("virtsim.validation.compare", "compare"),
    "doctor": ("virtsim.backends.doctor", "doctor"),
    "load_host": ("virtsim.platform.host", "load_host"),
    "load_runs": ("virtsim.results.store", "load_runs"),
    "load_stack": ("virtsim.platform.stack", "load_stack"),
    "observe": ("virtsim.backends.observe", "observe"),
    "operations": ("virtsim.workload.operations", ""),
    "replicate": ("virtsim.experiment.replicate", "replicate"),
    "save_runs": ("virtsim.results.store", "save_runs"),
    "simulate": ("virtsim.machine.simulate", "simulate"),
    "sweep": ("virtsim.experiment.replicate", "sweep"),
    "validate": ("virtsim.validation.validate", "validate"),
    "workloads": ("virtsim.workload.builders", ""),
}

__all__ = [
    "BackendUnavailable",
    "Group",
    "Guest",
    "Isolation",
    "ModelError",
    "Run",
    "RunSet",
    "Scenario",
    "SpecError",
    "Streams",
    "Task",
    "VirtsimError",
    "Workload",
    "calibrate",
    "compare",
    "doctor",
    "load_host",
    "load_runs",
    "load_stack",
    "observe",
    "operations",
    "replicate",
    "save_runs",
    "simulate",
    "sweep",
    "validate",
    "workloads",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    try:
        module, attribute = _PLACES[name]
    except KeyError:
        raise AttributeError(f"module 'virtsim' has no attribute {name!r}") from None
    try:
        found = import_module(module)
    except ModuleNotFoundError as problem:
        if (problem.name or "").startswith("virtsim"):
            raise
        raise ModuleNotFoundError(
            f"virtsim.{name} needs the package {problem.name!r}; install virtsim[all]", name=problem.name
        ) from None
    globals()[name] = value = getattr(found, attribute) if attribute else found
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
