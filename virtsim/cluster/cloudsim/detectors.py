"""Overload detection on arrays, as the reference computes it.

Three questions are asked of a detector: which hosts are overloaded now (:meth:`Detector.firing`); is a host with
just these VMs (:meth:`Detector.fires`, one host, exact); and would a candidate be if a VM were added
(:meth:`Detector.fires_with`, on the columns that :meth:`Detector.open` was given).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtsim.cluster.cloudsim.setup import ASKED, KNOWN, PREDICTED, WINDOW, Floats, Integers
from virtsim.cluster.cloudsim.state import State
from virtsim.core.errors import SpecError

Mask = NDArray[np.bool_]

#: Threshold where a window is too short for the statistic.
FALLBACK = 0.7
REGRESSION_SAMPLES = 10
STATISTIC_SAMPLES = 12
# Predictions this close to the limit are computed again, in the reference's order of operations.
_NEARLY = 1e-9


class Detector:
    """Overloaded if the requests of a host's VMs exceed a share of its speed (THR).

    Parameters
    ----------
    state : State
        Requests and windows.
    parameter : float
        The threshold.

    References
    ----------
    A. Beloglazov, R. Buyya, "Optimal online deterministic algorithms and adaptive heuristics for energy and
    performance efficient dynamic consolidation of virtual machines in cloud data centers", Concurrency and
    Computation: Practice and Experience 24(13), 2012, section 5.1; CloudSim 3.0.3.
    """

    def __init__(self, state: State, parameter: float) -> None:
        self.state, self.parameter = state, parameter

    def prepare(self) -> None:
        """Called once before each decision, when the windows are up to date."""

    def firing(self) -> Mask:
        """Which hosts are overloaded."""
        return self.state.asked / self.state.servers.total > self.parameter

    def fires(self, vms: list[int], host: int) -> bool:
        """Whether ``host`` would be overloaded with these VMs."""
        return self._above(vms, host, self.parameter)

    def _above(self, vms: list[int], host: int, threshold: float) -> bool:
        asked = 0.0
        for request in self.state.request[vms].tolist():
            asked += request
        return bool(asked / float(self.state.servers.total[host]) > threshold)

    def vm_sums(self) -> tuple[Floats | float, Floats | float]:
        """What a VM adds to the detector's two sums per host."""
        return 0.0, 0.0

    def open(self, hosts: Integers, table: list[list[float]]) -> None:
        """Take ``hosts`` as candidates; ``table`` has their sums, and changes as VMs are placed."""
        self.asked, self.sums, self.known_count = table[ASKED], table[PREDICTED], table[KNOWN]
        self.total: list[float] = self.state.servers.total[hosts].tolist()

    def fires_with(self, column: int, vm: int) -> bool:
        """Whether a candidate would be overloaded with ``vm`` too."""
        return self._load_with(column, vm) > self.parameter

    def _load_with(self, column: int, vm: int) -> float:
        return (self.asked[column] + float(self.state.request[vm])) / self.total[column]

    def add(self, column: int, vm: int) -> Any:
        """Put ``vm`` on a candidate; returns what :meth:`restore` needs."""

    def restore(self, column: int, before: Any) -> None:
        """Undo :meth:`add`."""

    def keep(self, hosts: Integers) -> None:
        """Let what was placed on the candidates stay."""


class Regression(Detector):
    """Overloaded if the line through the last 10 samples, times a safety factor, reaches 1 at the next (LR).

    In the reference the weights of the regression are never used (Q6), and the robust variant (LRR) is the same.

    Notes
    -----
    The prediction is linear in the samples, so that of a host is the sum of its VMs'. Where it is within rounding
    of the limit, the host is computed again in the reference's order of operations.
    """

    def __init__(self, state: State, parameter: float, weights: Floats | None = None) -> None:
        super().__init__(state, parameter)
        self.weights = weights
        self.gain = _prediction_gain(np.ones(REGRESSION_SAMPLES) if weights is None else weights)

    def prepare(self) -> None:
        """Predict from each window."""
        state = self.state
        self.predicted = (state.window[:, REGRESSION_SAMPLES - 1 :: -1] @ self.gain) * state.machines.mips
        self.known = (state.window[:, REGRESSION_SAMPLES - 1 :] != 0).any(axis=1)
        self._predictions = self.predicted.tolist()
        self._knowns = self.known.tolist()

    def vm_sums(self) -> tuple[Floats | float, Floats | float]:
        """What a VM adds to the detector's sums."""
        return self.predicted, self.known.astype(float)

    def firing(self) -> Mask:
        """Which hosts are overloaded."""
        state = self.state
        n, host, vm = state.n_hosts, state.slot_host, state.slot_vm
        known = np.bincount(host[self.known[vm]], minlength=n) > 0
        scaled = self.parameter * np.bincount(host, self.predicted[vm], minlength=n) / state.servers.total
        mask: Mask = np.where(known, scaled >= 1, state.asked / state.servers.total > FALLBACK)
        for h in np.flatnonzero(known & (np.abs(scaled - 1) < _NEARLY)).tolist():
            mask[h] = self.fires(vm[host == h].tolist(), h)
        return mask

    def fires(self, vms: list[int], host: int) -> bool:
        """Whether ``host`` would be overloaded with these VMs."""
        if not any(self._knowns[vm] for vm in vms):
            return self._above(vms, host, FALLBACK)
        total = float(self.state.servers.total[host])
        scaled = self.parameter * sum(self._predictions[vm] for vm in vms) / total
        if abs(scaled - 1) < _NEARLY:
            values = _host_window(self.state, vms, host)[REGRESSION_SAMPLES - 1 :: -1]
            scaled = self.parameter * (_line(values.tolist()) if self.weights is None else float(values @ self.gain))
        return bool(scaled >= 1)

    def fires_with(self, column: int, vm: int) -> bool:
        """Whether a candidate would be overloaded with ``vm`` too."""
        if self.known_count[column] > 0 or self._knowns[vm]:
            return bool(self.sums[column] + self._predictions[vm] >= self.total[column] / self.parameter)
        return self._load_with(column, vm) > FALLBACK


class WindowStatistic(Detector):
    """Base of detectors whose threshold follows from the spread of the host's window."""

    #: Samples below which the fixed threshold is used.
    needed = STATISTIC_SAMPLES

    def prepare(self) -> None:
        """Predict from each window."""
        state = self.state
        n, host, vm = state.n_hosts, state.slot_host, state.slot_vm
        parts = state.window[vm] * state.machines.mips[vm][:, None] / state.servers.total[host][:, None]
        cells = (host[:, None] * WINDOW + np.arange(WINDOW)).ravel()
        sums = np.bincount(cells, parts.ravel(), minlength=n * WINDOW).astype(np.float64, copy=False)
        self.windows: Floats = sums.reshape(n, WINDOW)

    def over(self, windows: Floats, load: Floats) -> Mask:
        """Whether hosts with these windows (newest first) are overloaded at these loads."""
        length = _lengths(windows)
        threshold = np.full(len(windows), FALLBACK)
        long = np.flatnonzero(length >= self.needed)
        if long.size:
            threshold[long] = self.thresholds(windows[long], length[long])
        return load > threshold

    def thresholds(self, windows: Floats, length: Integers) -> Floats:
        """Thresholds of hosts with long enough windows."""
        raise NotImplementedError

    def firing(self) -> Mask:
        """Which hosts are overloaded."""
        return self.over(self.windows, self.state.asked / self.state.servers.total)

    def fires(self, vms: list[int], host: int) -> bool:
        """Whether ``host`` would be overloaded with these VMs."""
        asked = sum(self.state.request[vms].tolist(), 0.0)
        window = _host_window(self.state, vms, host)
        return bool(self.over(window[None, :], np.array([asked / float(self.state.servers.total[host])]))[0])

    def open(self, hosts: Integers, table: list[list[float]]) -> None:
        """Take ``hosts`` as candidates."""
        super().open(hosts, table)
        self.columns = self.windows[hosts]

    def fires_with(self, column: int, vm: int) -> bool:
        """Whether a candidate would be overloaded with ``vm`` too."""
        return self.fires_at([column], vm)[0]

    def fires_at(self, columns: list[int], vm: int) -> list[bool]:
        """:meth:`fires_with` for several candidates at once, which costs little more than for one."""
        total = np.array([self.total[column] for column in columns])
        windows = self.columns[columns] + self.state.window[vm] * self.state.machines.mips[vm] / total[:, None]
        loads = np.array([self._load_with(column, vm) for column in columns])
        fires: list[bool] = self.over(windows, loads).tolist()
        return fires

    def add(self, column: int, vm: int) -> Any:
        """Put ``vm`` on a candidate."""
        before = self.columns[column].copy()
        self.columns[column] += self.state.window[vm] * self.state.machines.mips[vm] / self.total[column]
        return before

    def restore(self, column: int, before: Any) -> None:
        """Undo :meth:`add`."""
        self.columns[column] = before

    def keep(self, hosts: Integers) -> None:
        """Let what was placed stay."""
        self.windows[hosts] = self.columns


class MedianDeviation(WindowStatistic):
    """Threshold 1 - s * median absolute deviation of the window (MAD)."""

    def thresholds(self, windows: Floats, length: Integers) -> Floats:
        """Load above which each host is overloaded."""
        middle = _medians(windows, length)
        return 1 - self.parameter * _medians(np.abs(middle[:, None] - windows), length)


class InterquartileRange(WindowStatistic):
    """Threshold 1 - s * interquartile range of the window (IQR)."""

    def thresholds(self, windows: Floats, length: Integers) -> Floats:
        """Load above which each host is overloaded."""
        ordered = _sorted_heads(windows, length)
        row = np.arange(len(windows))
        low = np.floor(0.25 * (length + 1) + 0.5).astype(np.int64) - 1
        high = np.floor(0.75 * (length + 1) + 0.5).astype(np.int64) - 1
        spread: Floats = ordered[row, high] - ordered[row, low]
        return 1 - self.parameter * spread


class RobustRegression(WindowStatistic):
    """LRR as it was meant (Q6 off): bisquare weights, iterated, on top of the tricube ones.

    References
    ----------
    W. S. Cleveland, "Robust locally weighted regression and smoothing scatterplots", JASA 74(368), 1979.
    """

    needed = REGRESSION_SAMPLES

    def over(self, windows: Floats, load: Floats) -> Mask:
        """Whether hosts with these windows are overloaded."""
        mask: Mask = load > FALLBACK
        long = np.flatnonzero(_lengths(windows) >= self.needed)
        if long.size:
            predicted = robust_predictions(windows[long][:, REGRESSION_SAMPLES - 1 :: -1])
            mask[long] = self.parameter * predicted >= 1
        return mask


def tricube_weights(n: int) -> Floats:
    """Weights of ``n`` samples, oldest first, by their distance from the newest (tricube, bandwidth ``n``)."""
    distance = np.arange(n - 1, -1, -1) / n
    weights: Floats = (1 - distance**3) ** 3
    return weights


def _prediction_gain(weights: Floats) -> Floats:
    """Vector g with ``g @ y`` = the weighted least-squares line through y at the next point."""
    n = len(weights)
    x = np.arange(n) - float(n)
    design = np.stack([np.ones(n), x])
    gain: Floats = np.linalg.solve(design * weights @ design.T, design * weights)[0]
    return gain


def robust_predictions(samples: Floats, iterations: int = 3) -> Floats:
    """Next values of rows of samples (oldest first) by robust local regression."""
    rows, n = samples.shape
    base = tricube_weights(n)
    x = np.arange(n) - float(n)
    weights = np.tile(base, (rows, 1))
    for _ in range(iterations + 1):
        total = weights.sum(axis=1)
        x_mean, y_mean = weights @ x / total, (weights * samples).sum(axis=1) / total
        dx = x - x_mean[:, None]
        slope = (weights * dx * (samples - y_mean[:, None])).sum(axis=1) / (weights * dx * dx).sum(axis=1)
        predicted: Floats = y_mean - slope * x_mean
        residual = np.abs(samples - predicted[:, None] - slope[:, None] * x)
        scale = 6 * np.median(residual, axis=1)
        ratio = np.minimum(residual / np.where(scale > 0, scale, 1)[:, None], 1)
        bisquare = np.where(scale[:, None] > 0, (1 - ratio**2) ** 2, 1.0)
        weights = base * np.maximum(bisquare, 1e-9)
    return predicted


def _line(values: list[float]) -> float:
    """Least-squares line at the next point, by the updating formulas of the reference's library."""
    x_mean = y_mean = sum_xx = sum_xy = sum_x = sum_y = 0.0
    for n, y in enumerate(values):
        x = n + 1.0
        if n == 0:
            x_mean, y_mean = x, y
        else:
            dx, dy, factor = x - x_mean, y - y_mean, n / (1.0 + n)
            sum_xx += dx * dx * factor
            sum_xy += dx * dy * factor
            x_mean += dx / (1.0 + n)
            y_mean += dy / (1.0 + n)
        sum_x += x
        sum_y += y
    n = len(values)
    slope = sum_xy / sum_xx
    return (sum_y - slope * sum_x) / n + slope * (n + 1)


def _host_window(state: State, vms: list[int], host: int) -> Floats:
    window = np.zeros(WINDOW)
    total = state.servers.total[host]
    for vm in vms:
        window += state.window[vm] * state.machines.mips[vm] / total
    return window


def _lengths(windows: Floats) -> Integers:
    """Length of each window without its oldest zeros; at least 1."""
    filled = windows != 0
    length: Integers = np.where(filled.any(axis=1), WINDOW - np.argmax(filled[:, ::-1], axis=1), 1)
    return length


def _sorted_heads(windows: Floats, length: Integers) -> Floats:
    heads = np.where(np.arange(WINDOW) < length[:, None], windows, math.inf)
    heads.sort(axis=1)
    return heads


def _medians(windows: Floats, length: Integers) -> Floats:
    ordered = _sorted_heads(windows, length)
    row = np.arange(len(windows))
    low, high = ordered[row, (length - 1) // 2], ordered[row, length // 2]
    median: Floats = low + 0.5 * (high - low)
    return median


_KINDS: dict[str, tuple[type[Detector], float]] = {
    "thr": (Detector, 0.8),
    "mad": (MedianDeviation, 2.5),
    "iqr": (InterquartileRange, 1.5),
    "lr": (Regression, 1.2),
    "lrr": (Regression, 1.2),
}
DETECTORS = tuple(_KINDS)


def make_detector(name: str, parameter: float | None, state: State, unweighted: bool) -> Detector:
    """The detector called ``name``; ``unweighted`` is the quirk Q6."""
    if name not in _KINDS:
        raise SpecError("policy", f"the reference has no overload detector {name!r}; known: {', '.join(_KINDS)}")
    kind, default = _KINDS[name]
    value = default if parameter is None else parameter
    if not unweighted and name == "lr":
        return Regression(state, value, tricube_weights(REGRESSION_SAMPLES))
    if not unweighted and name == "lrr":
        return RobustRegression(state, value)
    return kind(state, value)
