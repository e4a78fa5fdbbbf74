"""Engines: where jobs run. Each takes jobs and gives ``(number, result as bytes)`` as they end, in any order."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from virtsim.core.errors import BackendUnavailable, SpecError
from virtsim.core.registry import Registry


class Work(Protocol):
    """What an engine runs: data that crosses process borders."""

    def run(self) -> bytes:
        """The result."""


class Engine(Protocol):
    """Runs jobs on ``workers`` processes and gives each result with the job's number."""

    def __call__(self, jobs: Sequence[Work], workers: int) -> Iterator[tuple[int, bytes]]:
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
def serial(jobs: Sequence[Work], workers: int = 1) -> Iterator[tuple[int, bytes]]:
    """In this process, one after the other."""
    for number, job in enumerate(jobs):
        yield number, job.run()


@ENGINES.register("processes")
def processes(jobs: Sequence[Work], workers: int) -> Iterator[tuple[int, bytes]]:
    """On processes of this machine, started afresh (joblib's loky), so no lock or thread is copied."""
    yield from _joblib(jobs, workers, "loky", initializer=_serve, initargs=(os.getpid(),))


@ENGINES.register("dask")
def dask(jobs: Sequence[Work], workers: int) -> Iterator[tuple[int, bytes]]:
    """On the workers of the current Dask client, here or elsewhere; their number is the cluster's affair."""
    try:
        from distributed import get_client

        get_client()
    except ImportError:
        raise BackendUnavailable("dask", "install virtsim[distributed]") from None
    except ValueError:
        raise BackendUnavailable("dask", "make a client first: distributed.Client(...)") from None
    yield from _joblib(jobs, -1, "dask")


def _joblib(jobs: Sequence[Work], workers: int, backend: str, **options: Any) -> Iterator[tuple[int, bytes]]:
    try:
        from joblib import Parallel, delayed, parallel_config
    except ImportError:
        raise BackendUnavailable("joblib", "install virtsim[science]") from None
    with parallel_config(backend=backend, n_jobs=workers, **options):
        calls = (delayed(_numbered)(number, job) for number, job in enumerate(jobs))
        with _deaf():
            results: Generator[tuple[int, bytes]] = Parallel(return_as="generator_unordered", batch_size=1)(calls)
        try:
            for result in results:  # noqa: UP028 ("yield from" would close them before this does)
                yield result
        finally:
            _drop(results)


def _drop(results: Generator[tuple[int, bytes]]) -> None:
    """End what still runs; who wanted no more results needs not be told that there are none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*still being processed by the workers have been cancelled")
        results.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore a terminal's interrupt while processes start: they inherit that, and it is for their parent alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(parent: int) -> None:
    """A new process of joblib's hears no interrupt, and ends with its parent: by itself it would stay for minutes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _numbered(number: int, job: Work) -> tuple[int, bytes]:
    return number, job.run()
