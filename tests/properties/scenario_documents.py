"""Hypothesis strategies: valid scenario documents, and documents spoilt in one or a few places."""

import copy
import datetime

import tomli_w
from hypothesis import strategies as st

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,7}", fullmatch=True)
TIMES = st.tuples(st.integers(1, 9000), st.sampled_from(["ns", "us", "ms"])).map(lambda t: f"{t[0]}{t[1]}")
SIZES = st.tuples(st.integers(1, 500), st.sampled_from(["B", "KiB", "kB"])).map(lambda t: f"{t[0]}{t[1]}")
DRAWS = st.one_of(
    TIMES,
    TIMES.map(lambda t: f"exponential({t})"),
    st.integers(1, 900).map(lambda a: f"uniform({a}us, {a + 5}us)"),
    st.tuples(TIMES, st.floats(0.1, 9)).map(lambda t: f"lognormal({t[0]}, {t[1]!r})"),
    st.tuples(TIMES, st.floats(1.1, 9)).map(lambda t: f"pareto({t[0]}, {t[1]!r})"),
    st.tuples(TIMES, st.floats(1.0, 9)).map(lambda t: f"hyperexponential({t[0]}, {t[1]!r})"),
    st.lists(TIMES, min_size=1, max_size=4).map(lambda t: f"empirical({', '.join(t)})"),
)
ARRIVALS = st.one_of(
    DRAWS.map(lambda d: f"closed({d})"),
    st.integers(1, 9999).map(lambda r: f"poisson({r}/s)"),
    TIMES.map(lambda t: f"periodic({t})"),
    st.just("file(arrivals.txt)"),
)
COUNTS = st.integers(1, 1000)


def table(op, optional=None, **required):
    fields = {"op": st.just(op), **required}
    return st.fixed_dictionaries(fields, optional=optional or {})


SIMPLE = st.one_of(
    table("compute", work=DRAWS),
    table("touch", {"working_set": st.just("1MiB"), "stride": st.sampled_from(["64B", "4KiB"])}, pages=COUNTS),
    table("syscall", {"kind": st.sampled_from(["null", "stat", "open_close"])}),
    table("syscall", {"size": SIZES}, kind=st.sampled_from(["read", "write"])),
    table("map_unmap", {"pages": COUNTS}),
    table("page_fault", {"pages": COUNTS}),
    table("fork_wait"),
    table("fork_exec"),
    table("signal"),
    table("sleep", time=DRAWS),
    table("write_fsync", {"size": SIZES}),
)
PROGRAMS = st.recursive(
    st.lists(SIMPLE, min_size=1, max_size=3),
    lambda body: st.lists(
        st.one_of(
            SIMPLE,
            table("repeat", {"count": COUNTS}, body=body),
            table("periodic", {"count": COUNTS}, body=body, period=st.integers(1, 900).map(lambda t: f"{t}ms")),
            st.tuples(body, NAMES).map(
                lambda t: {
                    "op": "repeat",
                    "count": 2,
                    # A lock held by an enclosing body may not be taken again, so the name tells the depth.
                    "body": [
                        {"op": "lock", "name": f"{t[1]}{len(str(t[0]))}"},
                        *[op for op in t[0] if op["op"] not in ("repeat", "periodic")],
                        {"op": "unlock", "name": f"{t[1]}{len(str(t[0]))}"},
                    ],
                }
            ),
        ),
        min_size=1,
        max_size=3,
    ),
    max_leaves=5,
)
TASK_OPTIONS = {
    "count": st.integers(1, 4),
    "nice": st.integers(-20, 19),
    "policy": st.sampled_from(["other", "batch", "idle"]),
    "slice": st.integers(1, 100).map(lambda t: f"{t}ms"),
    "start": TIMES,
    "timer_slack": st.just("1us"),
}
LIMITS = {
    "cpu_weight": st.integers(1, 10_000),
    "cpu_max": st.tuples(st.integers(1, 900), st.integers(1, 1000)).map(lambda t: f"{t[0]}ms/{t[1]}ms"),
    "memory_max": st.integers(1, 64).map(lambda n: f"{n}MiB"),
    "pids_max": COUNTS,
    "io_weight": st.integers(1, 10_000),
}
ISOLATIONS = st.fixed_dictionaries(
    {},
    optional={
        "user_namespace": st.booleans(),
        "time_namespace": st.booleans(),
        "seccomp_rules": st.integers(0, 4000),
        "rlimits": st.dictionaries(st.sampled_from(["nofile", "nproc", "stack"]), COUNTS, max_size=2),
    },
)


@st.composite
def workloads(draw):
    if draw(st.integers(0, 5)) == 0:
        kind = draw(st.sampled_from(["pipe", "futex"]))
        ends = [{"op": "send", "channel": "to"}, {"op": "receive", "channel": "fro"}]
        other = [{"op": "receive", "channel": "to"}, {"op": "send", "channel": "fro"}]
        tasks = [
            {"name": name, "program": [{"op": "repeat", "body": body, "count": 9}]}
            for name, body in (("ping", ends), ("pong", other))
        ]
        return {"tasks": tasks, "channels": {"to": kind, "fro": kind}}
    tasks = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=2, unique_by=str)):
        program = draw(PROGRAMS)
        if draw(st.booleans()):
            # Each queue has one name and so one set of arrivals.
            serve = {"op": "serve", "arrivals": draw(ARRIVALS), "body": program, "queue": f"q{len(tasks)}"}
            program = [serve]
        task = {"name": name, "program": program}
        tasks.append(task | draw(st.fixed_dictionaries({}, optional=TASK_OPTIONS)))
    counted = [task for task in tasks if task.get("count", 1) > 1]
    for i, task in enumerate(counted):
        task["name"] = f"many{i}"
    return {"tasks": tasks}


@st.composite
def documents(draw):
    """A valid scenario, as TOML's tables."""
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    cut = draw(st.integers(0, len(names) - 1))
    groups, guests = [], []
    for i, name in enumerate(names[:cut]):
        group = {"name": name} | draw(st.fixed_dictionaries({}, optional=LIMITS))
        if i and draw(st.booleans()):
            group["parent"] = names[draw(st.integers(0, i - 1))]
        groups.append(group)
    for name in names[cut:]:
        guest = {"name": name, "workload": draw(workloads())}
        if draw(st.integers(0, 3)) == 0:
            guest["stack"] = "native"
        else:
            guest |= draw(st.fixed_dictionaries({}, optional=LIMITS))
            isolation = draw(ISOLATIONS)
            guest |= {"isolation": isolation} if isolation else {}
        if groups and draw(st.booleans()):
            guest["group"] = groups[draw(st.integers(0, len(groups) - 1))]["name"]
        guests.append(guest)
    document = {"duration": draw(st.integers(1, 5000).map(lambda t: f"{t}ms")), "guests": guests}
    document |= {"groups": groups} if groups else {}
    optional = {"name": NAMES, "host": NAMES, "cpus": st.sampled_from(["0", "0-3", "1,3"])}
    return document | draw(st.fixed_dictionaries({}, optional=optional))


def deep(levels, kind):
    value = 1
    for _ in range(levels):
        value = [value] if kind == "list" else {"a": value}
    return value


JUNK = st.one_of(
    st.sampled_from(
        [
            "", " ", "\0", "a\nb", "a\n", "../../x", "/etc/passwd", "a/b", "..", ".", "-x", "x" * 64, "x" * 100_000,
            "\x1b[31m", "\u202e", "ä", "$(reboot)", "%s", "1e999s", "-5ms", "nan", "0/s", "5", "exponential(", "5%",
            0, -1, 2**31, 2**63, 2**64, 10**30, -(10**30), 1.5, float("nan"), float("inf"), -0.0, 1e308,
            True, False, [], {}, [[]], {"a": {}}, datetime.date(2024, 1, 1), datetime.time(1, 2), deep(70, "list"),
            deep(70, "table"), {"op": "compute"}, {"op": "explode"}, {"op": 5}, ["0"],
        ]
    ),
    st.text(max_size=10).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text)),
    st.integers(-(2**70), 2**70),
).map(copy.deepcopy)  # fmt: skip


def spots(node, found=None):
    """Every (container, key) of a document."""
    found = [] if found is None else found
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        found.append((node, key))
        if isinstance(node[key], (dict, list)):
            spots(node[key], found)
    return found


@st.composite
def spoilt_documents(draw):
    """A valid document with one to three changes that may or may not make it invalid."""
    document = copy.deepcopy(draw(documents()))
    for _ in range(draw(st.integers(1, 3))):
        places = spots(document)
        if not places:
            break
        node, key = places[draw(st.integers(0, len(places) - 1))]
        action = draw(st.sampled_from(["replace", "delete", "add", "rename", "double"]))
        if action == "replace":
            node[key] = draw(JUNK)
        elif action == "delete":
            del node[key]
        elif action == "add" and isinstance(node, dict):
            node[draw(st.sampled_from(["extra", "", "a b", "\n", "\0", "naem", "op", "name", "x" * 500]))] = draw(JUNK)
        elif action == "rename" and isinstance(node, dict):
            node[f"{key}s"] = node.pop(key)
        elif action == "double" and isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
    return document


@st.composite
def spoilt_files(draw, document):
    """The bytes of a file: a spoilt document (of that strategy), or one whose text is damaged, too."""
    data = tomli_w.dumps(draw(document)).encode()
    if draw(st.integers(0, 2)):
        return data
    at = draw(st.integers(0, len(data)))
    damage = draw(
        st.sampled_from(
            [b"\xff", b"\x00", b"\n", b"=", b'"', b"[", b"]]", b"{", b"\xc3", b"\xef\xbb\xbf", b"\r", b"[" * 3000,
             b"= 9" + b"9" * 5000, b"\n[[guests]]\n", b"\n[guests]\n", b"cut"]
        )
    )  # fmt: skip
    return data[:at] if damage == b"cut" else data[:at] + damage + data[at:]
