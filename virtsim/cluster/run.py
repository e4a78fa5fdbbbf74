"""The result of running a cluster."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from virtsim.core.errors import SpecError
from virtsim.core.files import write_whole
from virtsim.core.spec import decode_json, encode_json
from virtsim.core.units import format_duration
from virtsim.results.schema import Metric

if TYPE_CHECKING:
    import pandas


class ClusterColumn(NamedTuple):
    """Unit and meaning of one figure."""

    unit: str
    meaning: str


#: What a cluster run reports in total. The reference rule book has those marked (reference) in the documentation.
CLUSTER_METRICS: dict[str, ClusterColumn] = {
    "energy_kwh": ClusterColumn("kWh", "Energy of all hosts."),
    "migrations": ClusterColumn("1", "Migrations that were started."),
    "slatah": ClusterColumn(
        "1", "SLA time per active host: share of the hosts' active time in which demand was not met."
    ),
    "pdm": ClusterColumn(
        "1", "Degradation due to migrations: work not done while migrating, as a share of all work asked for."
    ),
    "slav": ClusterColumn("1", "SLATAH times PDM."),
    "esv": ClusterColumn("kWh", "Energy times SLAV."),
    "shutdowns": ClusterColumn("1", "Times a host went from active to inactive."),
    "state_changes": ClusterColumn("1", "Times a host changed between active and inactive."),
    "sla_overall": ClusterColumn("1", "Work not done, as a share of all work asked for."),
    "sla_average": ClusterColumn("1", "Mean shortage over the intervals of VMs with a shortage."),
    "unmet_demand": ClusterColumn("MI", "Work not done, million instructions."),
    "mean_time_before_shutdown_s": ClusterColumn("s", "Mean time a host was active before it shut down."),
    "mean_migration_time_s": ClusterColumn("s", "Mean duration of a migration."),
    "mean_active_hosts": ClusterColumn("1", "Hosts that are on, mean over time."),
    "peak_active_hosts": ClusterColumn("1", "Most hosts that were on at once."),
    "steal_mi": ClusterColumn("MI", "Work not done because guests of a host wanted more CPU than it has."),
    "migrated_bytes": ClusterColumn("B", "Bytes that migrations sent."),
    "migration_downtime_s": ClusterColumn("s", "Time guests stood still because of migrations, summed."),
    "failed_migrations": ClusterColumn("1", "Migrations given up because a host failed or the guest departed."),
    "boots": ClusterColumn("1", "Times a host was woken or booted."),
    "boot_energy_kwh": ClusterColumn("kWh", "Part of the energy that went into booting, waking and going to sleep."),
    "availability": ClusterColumn("1", "Share of the guests' lives in which they ran."),
    "unplaced": ClusterColumn("1", "Guests that never found a host."),
    "oom_kills": ClusterColumn("1", "Guests killed because a host ran out of memory."),
    "balloon_byte_s": ClusterColumn("B s", "Memory taken from guests by ballooning, integrated over time."),
    "restarts": ClusterColumn("1", "Guests started again after a host failed or they were killed."),
    "images_pulled_bytes": ClusterColumn("B", "Bytes of images that hosts pulled."),
    "storage_bytes": ClusterColumn("B", "Bytes that guests read from the store."),
    "storage_late_s": ClusterColumn(
        "s", "Time that reads from the store took longer because links were shared, summed."
    ),
    "service_asked_mi": ClusterColumn("MI", "Work asked of scaled groups."),
    "service_unserved_mi": ClusterColumn("MI", "Part of it that was more than the limits of the replicas that ran."),
    "mean_replicas": ClusterColumn("1", "Replicas that scaled groups should have, mean over time, summed."),
    "scale_ups": ClusterColumn("1", "Decisions of autoscalers for more replicas."),
    "scale_downs": ClusterColumn("1", "Decisions of autoscalers for fewer replicas."),
}


class ServiceState(NamedTuple):
    """A service, the replicas of a scaled group, from some time on.

    Attributes
    ----------
    time_s : float, s
        Since when.
    replicas, serving : int
        Replicas that there should be, and that run.
    asked, unserved : float, MIPS
        Work that is asked of the service, and the part that its replicas' limits leave undone.
    """

    time_s: float
    replicas: int
    serving: int
    asked: float
    unserved: float


class ClusterRun(msgspec.Struct, kw_only=True):
    """One run of a cluster.

    Attributes
    ----------
    rules, policy, traces : str
        Rule book, policy, and name of the demand.
    hosts, guests : int
        How many there were.
    seed : int
        Root seed.
    duration_ns : int, ns
        Simulated time.
    totals : dict of str to number
        Figures by name; units and meanings are in :data:`CLUSTER_METRICS`.
    series : dict of str to list of float
        One value per decision, ``time_s`` among them; counts and energies are running totals.
    services : dict of str to list of ServiceState
        For each scaled group, its replicas and unserved demand: an entry whenever something changed.
    manifest : dict
        How it was made.
    """

    rules: str
    policy: str
    traces: str
    hosts: int
    guests: int
    seed: int
    duration_ns: int
    totals: dict[str, int | float]
    series: dict[str, list[float]] = {}
    services: dict[str, list[ServiceState]] = {}
    manifest: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """Hash of everything but the manifest: equal runs have equal digests, in any process."""
        bare = msgspec.structs.replace(self, manifest={})
        return hashlib.blake2b(encode_json(bare), digest_size=16).hexdigest()

    def metrics(self) -> list[Metric]:
        """Tidy rows ``(entity, metric, unit, value)`` of the totals."""
        return list(self._metrics())

    def _metrics(self) -> Iterator[Metric]:
        for name, column in CLUSTER_METRICS.items():
            if name in self.totals:
                yield Metric("cluster", name, column.unit, self.totals[name])

    def value(self, metric: str) -> float:
        """One figure; ``KeyError`` if the run has none of that name."""
        if metric not in self.totals:
            raise KeyError(f"this run has no {metric}; it has: {', '.join(self.totals)}")
        return self.totals[metric]

    def to_frame(self) -> pandas.DataFrame:
        """The totals as a data frame with the columns entity, metric, unit, value (needs pandas)."""
        import pandas

        return pandas.DataFrame(self.metrics(), columns=list(Metric._fields))

    def series_frame(self) -> pandas.DataFrame:
        """The series as a data frame, a row per decision (needs pandas)."""
        import pandas

        return pandas.DataFrame(self.series)

    def save(self, path: Path | str) -> None:
        """Write the run as one JSON document; the file appears whole or not at all."""
        try:
            write_whole(Path(path), encode_json(self) + b"\n")
        except OSError as problem:
            raise SpecError(str(path), f"the run cannot be written: {problem.strerror}") from None

    @classmethod
    def load(cls, path: Path | str) -> ClusterRun:
        """Read a run that :meth:`save` wrote."""
        try:
            data = Path(path).read_bytes()
        except OSError as problem:
            raise SpecError(str(path), f"the run cannot be read: {problem.strerror}") from None
        return decode_json(data, cls, str(path))

    def service_frame(self) -> pandas.DataFrame:
        """The states of all services as a data frame, a row whenever something changed (needs pandas)."""
        import pandas

        rows = [(name, *state) for name, states in self.services.items() for state in states]
        return pandas.DataFrame(rows, columns=["service", *ServiceState._fields])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{row.metric}</td><td>{row.value:.6g} {'' if row.unit == '1' else row.unit}</td></tr>"
            for row in self._metrics()
        )
        head = (
            f"<b>{self.policy}</b> on {self.traces}, rules {self.rules}: {self.hosts} hosts, {self.guests} guests, "
            f"{format_duration(self.duration_ns)}"
        )
        return f"{head}<table><tr><th>metric</th><th>value</th></tr>{cells}</table>"
