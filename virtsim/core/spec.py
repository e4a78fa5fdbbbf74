"""Strict data: TOML or JSON in, frozen structs out, one-line errors with the path of the field.

A spec is a :class:`Spec` subclass. Its fields may be the quantity types of this module, which are
plain numbers inside and texts with units outside: ``Duration`` is an ``int`` of nanoseconds written
``"250us"``. Built in Python, a spec takes either form.

Examples
--------
>>> class Nap(Spec):
...     time: Duration
>>> Nap(time="2ms").time + 1
2000001
>>> from_builtins({"time": "2 parsecs"}, Nap, "nap.toml")
Traceback (most recent call last):
virtsim.core.errors.SpecError: nap.toml: time: '2 parsecs' has the unknown unit 'parsecs'; ...
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from virtsim.core import units
from virtsim.core.errors import SpecError, did_you_mean

T = TypeVar("T")

#: A name or a sentence.
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
#: No spec file is larger; a larger one is refused before it is parsed.
MAX_FILE_BYTES = 16 * 2**20
_MAX_DEPTH = 64


class Duration(int):
    """Nanoseconds, written as text with a unit: ``"250us"``."""


class Size(int):
    """Bytes, written as text with a unit: ``"4KiB"``."""


class Rate(float):
    """Events per second, written ``"800/s"``."""


class Frequency(int):
    """Hertz, written ``"2.5GHz"``."""


class Written:
    """Base of values that are written as one text and are not numbers: compared by their text."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class CpuMax(Written):
    """CPU bandwidth, written quota/period: ``"30ms/100ms"``, or ``"30%"`` of 100 ms.

    Attributes
    ----------
    quota_ns, period_ns : int, ns
        CPU time allowed in every period.
    """

    __slots__ = ("period_ns", "quota_ns")

    def __init__(self, quota_ns: int, period_ns: int) -> None:
        self.quota_ns = quota_ns
        self.period_ns = period_ns

    def __str__(self) -> str:
        return f"{units.format_duration(self.quota_ns)}/{units.format_duration(self.period_ns)}"


class CpuSet(Written):
    """CPU numbers, ascending, written as a list: ``"0,2-3"``."""

    __slots__ = ("cpus",)

    def __init__(self, cpus: Iterable[int]) -> None:
        self.cpus = tuple(sorted(set(cpus)))

    def __iter__(self) -> Iterator[int]:
        return iter(self.cpus)

    def __len__(self) -> int:
        return len(self.cpus)

    def __str__(self) -> str:
        return units.format_cpu_list(self.cpus)


class Quantity:
    """How a type of value is written: parse its text, format its value."""

    def __init__(self, parse: Callable[[str], Any], show: Callable[[Any], str]) -> None:
        self.parse = parse
        self.show = show


_QUANTITIES: dict[type, Quantity] = {
    Duration: Quantity(lambda text: Duration(units.parse_duration(text)), units.format_duration),
    Size: Quantity(lambda text: Size(units.parse_size(text)), units.format_size),
    Rate: Quantity(lambda text: Rate(units.parse_rate(text)), units.format_rate),
    Frequency: Quantity(lambda text: Frequency(units.parse_frequency(text)), lambda hz: f"{hz}Hz"),
    CpuMax: Quantity(lambda text: CpuMax(*units.parse_cpu_max(text)), str),
    CpuSet: Quantity(lambda text: CpuSet(units.parse_cpu_list(text)), str),
}


def add_quantity(kind: type, parse: Callable[[str], Any], show: Callable[[Any], str]) -> None:
    """Let specs have fields of ``kind``, written as text: used by the workload language for its draws."""
    _QUANTITIES[kind] = Quantity(parse, show)


_PATTERNS: dict[str, str] = {}


def explain_pattern(pattern: str, meaning: str) -> str:
    """Let errors say ``meaning`` where a text does not match ``pattern``; gives the pattern back."""
    _PATTERNS[pattern] = meaning
    return pattern


def _decode_quantity(kind: type, raw: Any) -> Any:
    quantity = _QUANTITIES.get(kind)
    if quantity is None:
        raise NotImplementedError(f"no spec field may have the type {kind.__name__}")
    if not isinstance(raw, str):
        raise ValueError(f"expected text with a unit, got {type(raw).__name__}; write the {kind.__name__} as text")
    return quantity.parse(raw)


def _encode_quantity(value: Any) -> str:
    quantity = _QUANTITIES.get(type(value))
    if quantity is None:
        shown = _printable(repr(value))[:40]
        raise SpecError("", f"{shown} is a {type(value).__name__}, which no spec holds; give text, a number or a spec")
    return quantity.show(value)


def _quantity_of(hint: Any) -> type | None:
    """The quantity type in a field's annotation, if it has one."""
    if isinstance(hint, type) and hint in _QUANTITIES:
        return hint
    if get_origin(hint) is not None and (get_origin(hint) is Union or "UnionType" in type(hint).__name__):
        for part in get_args(hint):
            if isinstance(part, type) and part in _QUANTITIES:
                return part
    return None


@cache
def _quantity_fields(spec: type) -> tuple[tuple[str, type], ...]:
    hints = get_type_hints(spec)
    found = ((name, _quantity_of(hints[name])) for name in spec.__struct_fields__)  # type: ignore[attr-defined]
    return tuple((name, kind) for name, kind in found if kind is not None)


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all data that people write: frozen, strict, comparable, convertible both ways.

    Raises
    ------
    SpecError
        When a quantity given as text cannot be read; the path names the field.
    """

    __tag_name__: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name, kind in _quantity_fields(type(self)):
            value = getattr(self, name)
            if value is None or type(value) is kind:
                continue
            try:
                made = _QUANTITIES[kind].parse(value) if isinstance(value, str) else kind(value)
            except (ValueError, TypeError) as problem:
                raise SpecError(name, str(problem)) from None
            msgspec.structs.force_setattr(self, name, made)
        try:
            self._check()
        except (AttributeError, TypeError) as problem:
            raise self._wrong_type(problem) from None

    def _wrong_type(self, problem: Exception) -> SpecError:
        """A field made in Python is not what it should be: the strict reader knows which."""
        try:
            from_builtins(self.to_builtins(), type(self))
        except SpecError as found:
            return found
        return SpecError(type(self).__name__, str(problem))

    def _check(self) -> None:
        """Rules between fields; raises ``ValueError`` or :class:`SpecError` with the field's path."""

    def to_builtins(self) -> dict[str, Any]:
        """Dicts, lists, texts and numbers, as TOML and JSON hold them."""
        data: dict[str, Any] = msgspec.to_builtins(self, enc_hook=_encode_quantity)
        return data

    @classmethod
    def from_builtins(cls, data: Any, where: str = "") -> Self:
        """The reverse of :meth:`to_builtins`; see :func:`from_builtins`."""
        return from_builtins(data, cls, where)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)


def from_builtins(data: Any, kind: type[T], where: str = "") -> T:
    """Convert plain data to ``kind``, strictly.

    Parameters
    ----------
    data : dict or list
        What TOML or JSON gave.
    kind : type
        A :class:`Spec` subclass, or any type msgspec knows.
    where : str
        File or origin, put in front of the path in errors.

    Raises
    ------
    SpecError
        One line: where, field, reason.
    """
    prefix = f"{where}: " if where else ""
    if _depth(data) > _MAX_DEPTH:
        raise SpecError(f"{prefix}document", f"tables are nested deeper than {_MAX_DEPTH} levels")
    try:
        return msgspec.convert(data, kind, dec_hook=_decode_quantity)
    except msgspec.ValidationError as problem:
        raise _spec_error(_with_keys(str(problem), data, kind), prefix, problem.__cause__, kind) from None
    except SpecError as problem:
        raise problem.inside(prefix) from None
    except (ValueError, TypeError, RecursionError, OverflowError, NotImplementedError) as problem:
        raise SpecError(f"{prefix}document", str(problem) or type(problem).__name__) from None


def _spec_error(message: str, prefix: str, cause: BaseException | None, kind: Any) -> SpecError:
    """Turn msgspec's "reason - at `$.a[0].b`" into our "file: a[0].b: reason"."""
    match = re.fullmatch(r"(?s)(.*?)(?: - at `(?:key in )?\$\.?(.*?)`)?", message)
    assert match is not None
    reason, path = match[1], match[2] or ""
    path = path.replace("[...]", "[]")
    if isinstance(cause, SpecError):
        reason = cause.reason
        inner = cause.path
        path = f"{path}.{inner}" if path and inner and not inner.startswith("[") else path + inner
    missing = re.fullmatch(r"Object (?:missing required|contains unknown) field `(.*)`", reason, re.DOTALL)
    if missing:
        fields = _fields(kind, path)
        path = ".".join(filter(None, (path, missing[1] or "''")))
        hint = did_you_mean(missing[1], fields).rstrip() or "check its spelling"
        reason = "the field is required" if "missing" in reason else f"there is no such field; {hint}"
    unknown = re.fullmatch(r"Invalid (?:enum )?value '(.*)'", reason, re.DOTALL)
    if unknown and (choices := _choices(kind, path)):
        hint = did_you_mean(unknown[1], choices)
        reason = f"{unknown[1][:60]!r} is none of the values; {hint}known: {', '.join(choices)}"
    short = re.fullmatch(r"Expected `array` of length >= (\d+)", reason)
    if short:
        reason = f"must have at least {short[1]} entr{'y' if short[1] == '1' else 'ies'}"
    for pattern, meaning in _PATTERNS.items():
        if reason == f"Expected `str` matching regex {pattern!r}":
            reason = f"expected {meaning}"
    return SpecError(f"{prefix}{_printable(path or 'document')}", _printable(reason))


def _with_keys(message: str, data: Any, kind: Any) -> str:
    """msgspec's message with the key of the entry of a table for each ``[...]`` that stands for one."""
    while (found := re.search(r" - at `\$\.?(.*?)\.?\[\.\.\.\]", message)) is not None:
        key = _refused_key(_at(data, found[1]), _types_at(kind, f"{found[1]}.[]", limits=True))
        if key is None:
            break
        message = f"{message[: found.end() - 5]}.{key}{message[found.end() :]}"
    return message


def _at(data: Any, path: str) -> Any:
    """What is at a path of plain data."""
    for step in re.findall(r"[^.\[\]]+", path):
        data = data[int(step)] if isinstance(data, list) else data.get(step)
    return data


def _refused_key(table: Any, kinds: list[Any]) -> str | None:
    """The first key of a table whose value is none of some types."""
    for key, value in table.items() if isinstance(table, dict) and kinds else ():
        try:
            msgspec.convert(value, Union[tuple(kinds)], dec_hook=_decode_quantity)
        except (msgspec.ValidationError, SpecError):
            return key if re.fullmatch(r"[\w -]+", key) else None
        except TypeError:
            return None
    return None


def _fields(hint: Any, path: str) -> list[str]:
    """Names of the fields that the table at ``path`` may have."""
    structs = [part for part in _types_at(hint, path) if hasattr(part, "__struct_fields__")]
    return sorted({name for struct in structs for name in struct.__struct_encode_fields__})


def _choices(hint: Any, path: str) -> list[str]:
    """Values that the field at ``path`` may have, if its type lists them, or its kinds if it tells tables apart."""
    above, _, name = path.rpartition(".")
    configs = [part.__struct_config__ for part in _types_at(hint, above) if hasattr(part, "__struct_config__")]
    tags = [str(config.tag) for config in configs if config.tag_field == name]
    parts = _types_at(hint, path)
    return tags or [str(value) for part in parts if get_origin(part) is Literal for value in get_args(part)]


def _types_at(hint: Any, path: str, limits: bool = False) -> list[Any]:
    """Types that what is at ``path`` may have; with ``limits``, as far as they are annotated with some."""
    limited = parts = _alternatives([hint])
    for step in re.findall(r"\w+|\[\w*\]", path):
        if step[0] == "[":
            parts = [get_args(part)[-1] for part in parts if get_origin(part) in (list, dict)]
        else:
            structs = [part for part in parts if step in getattr(part, "__struct_fields__", ())]
            parts = [get_type_hints(struct, include_extras=True)[step] for struct in structs]
        limited, parts = parts, [_bare(part) for part in _alternatives([_bare(part) for part in parts])]
    return limited if limits else parts


def _bare(hint: Any) -> Any:
    """A type without its annotations."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _alternatives(parts: list[Any]) -> list[Any]:
    """The types with those of unions apart."""
    while any(get_origin(part) in (Union, UnionType) for part in parts):
        parts = [
            one for part in parts for one in (get_args(part) if get_origin(part) in (Union, UnionType) else [part])
        ]
    return parts


def _printable(text: str) -> str:
    """Text safe to print on one line of a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)[:500]


def _depth(data: Any, limit: int = _MAX_DEPTH + 1) -> int:
    if limit == 0 or not isinstance(data, (dict, list)) or not data:
        return 0
    parts = data.values() if isinstance(data, dict) else data
    return 1 + max(_depth(part, limit - 1) for part in parts)


def read_toml(path: Path | str) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises
    ------
    SpecError
        If the file cannot be read, is not UTF-8, is too large or is not TOML; names file and line.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SpecError(str(path), f"the file is larger than {MAX_FILE_BYTES >> 20} MiB")
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as problem:
        raise SpecError(str(path), f"the file is not UTF-8 text (byte {problem.start})") from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise SpecError(_printable(str(path)), f"the file cannot be read: {reason}") from None
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as problem:
        raise SpecError(str(path), f"not TOML: {_printable(str(problem))}") from None


def load_toml(path: Path | str, kind: type[T]) -> T:
    """Read a TOML file as ``kind``, strictly; see :func:`from_builtins`."""
    return from_builtins(read_toml(path), kind, str(path))


def dump_toml(spec: Spec) -> str:
    """TOML text that :func:`load_toml` reads back to an equal spec."""
    import tomli_w

    return tomli_w.dumps(spec.to_builtins())


def encode_json(value: Any) -> bytes:
    """Canonical JSON: struct order, units as text; equal values give equal bytes."""
    return msgspec.json.encode(value, enc_hook=_encode_quantity)


def decode_json(data: bytes | str, kind: type[T], where: str = "") -> T:
    """Read JSON as ``kind``, strictly; errors as in :func:`from_builtins`."""
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_decode_quantity)
    except (msgspec.ValidationError, msgspec.DecodeError) as problem:
        raise _spec_error(str(problem), f"{where}: " if where else "", problem.__cause__, kind) from None
