"""Engines: where jobs run. Each takes jobs and gives ``(number, run as bytes)`` as they end, in any order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Protocol

from virtsim.core.errors import BackendUnavailable, SpecError
from virtsim.core.registry import Registry
from virtsim.experiment.jobs import Job


class Engine(Protocol):
    """Runs jobs on ``workers`` processes and gives each result with the job's number."""

    def __call__(self, jobs: Sequence[Job], workers: int) -> Iterator[tuple[int, bytes]]:
        """Run all jobs."""


ENGINES: Registry[Engine] = Registry("engine")


def engine_for(name: str | None, workers: int) -> Engine:
    """The engine called ``name``; without a name, processes if there is more than one worker."""
    return ENGINES.get(name or ("serial" if workers == 1 else "processes"), "engine")


def worker_count(workers: int) -> int:
    """``workers``, or the CPUs this process may use if it is -1."""
    if workers == -1:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise SpecError("workers", f"{workers} is not a number of workers; at least 1, or -1 for all CPUs")
    return workers


@ENGINES.register("serial")
def serial(jobs: Sequence[Job], workers: int = 1) -> Iterator[tuple[int, bytes]]:
    """In this process, one after the other."""
    for number, job in enumerate(jobs):
        yield number, job.run()


@ENGINES.register("processes")
def processes(jobs: Sequence[Job], workers: int) -> Iterator[tuple[int, bytes]]:
    """On processes of this machine, started afresh (joblib's loky), so no lock or thread is copied."""
    yield from _joblib(jobs, workers, "loky")


@ENGINES.register("dask")
def dask(jobs: Sequence[Job], workers: int) -> Iterator[tuple[int, bytes]]:
    """On the workers of the current Dask client, here or elsewhere; their number is the cluster's affair."""
    try:
        from distributed import get_client

        get_client()
    except ImportError:
        raise BackendUnavailable("dask", "install virtsim[distributed]") from None
    except ValueError:
        raise BackendUnavailable("dask", "make a client first: distributed.Client(...)") from None
    yield from _joblib(jobs, -1, "dask")


def _joblib(jobs: Sequence[Job], workers: int, backend: str) -> Iterator[tuple[int, bytes]]:
    try:
        from joblib import Parallel, delayed, parallel_config
    except ImportError:
        raise BackendUnavailable("joblib", "install virtsim[science]") from None
    with parallel_config(backend=backend, n_jobs=workers):
        calls = (delayed(_numbered)(number, job) for number, job in enumerate(jobs))
        yield from Parallel(return_as="generator_unordered", batch_size=1)(calls)


def _numbered(number: int, job: Job) -> tuple[int, bytes]:
    return number, job.run()
