"""The image: a block of shared memory with the plan of a run, and its report when it is over."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtsim.backends.layout import WORD, layout

#: Table in the header, and the struct its rows are.
TABLES = {
    "guests": "guest",
    "processes": "process",
    "instructions": "instruction",
    "draws": "draw",
    "buffers": "buffer",
    "channels": "channel",
    "mutexes": "mutex",
    "queues": "queue",
    "writes": "write",
    "periods": "period",
    "snapshots": "snapshot",
    "histograms": "histogram",
    "requests": "request",
    "spans": "span",
}
_PAGE_WORDS = 4096 // WORD


class Plan:
    """A plan under construction: rows of the tables, the pools of words and texts.

    A row is a dict of the struct's members; those left out are 0.
    """

    def __init__(self) -> None:
        self.header: dict[str, int] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        self._reserved: dict[str, int] = {}
        self._words: list[int] = []
        self._texts = bytearray()
        self._known: dict[str, int] = {}

    def add(self, table: str, **members: Any) -> int:
        """Append a row; its index."""
        self.rows[table].append(members)
        return len(self.rows[table]) - 1

    def count(self, table: str) -> int:
        """Rows so far."""
        return len(self.rows[table]) + self._reserved.get(table, 0)

    def reserve(self, table: str, count: int) -> int:
        """Make room for ``count`` empty rows, of tables that the runner fills; index of the first."""
        first = self.count(table)
        self._reserved[table] = self._reserved.get(table, 0) + count
        return first

    def text(self, text: str | os.PathLike[str]) -> int:
        """Offset of a text in the pool."""
        text = os.fspath(text)
        if text not in self._known:
            self._known[text] = len(self._texts)
            self._texts += os.fsencode(text) + b"\0"
        return self._known[text]

    def words(self, values: Iterable[int]) -> dict[str, int]:
        """Put numbers into the pool; ``{"first": index, "count": length}``."""
        first = len(self._words)
        self._words += values
        return {"first": first, "count": len(self._words) - first}

    def image(self) -> Image:
        """The finished plan, in shared memory."""
        places, end = {}, layout().sizes["header"]
        for table, struct in TABLES.items():
            end = -(-end // _PAGE_WORDS) * _PAGE_WORDS
            places[table] = end
            end += self.count(table) * layout().sizes[struct]
        words_at = end
        texts_at = words_at + len(self._words)
        total = -(-(texts_at * WORD + len(self._texts)) // 4096) * 4096
        image = Image(total)
        for table, struct in TABLES.items():
            for i, row in enumerate(self.rows[table]):
                image.write(struct, places[table] + i * layout().sizes[struct], row)
        image.cells[words_at:texts_at] = np.array(self._words, dtype=np.int64)
        image.memory[texts_at * WORD : texts_at * WORD + len(self._texts)] = bytes(self._texts)
        header: dict[str, Any] = dict(self.header)
        for table in TABLES:
            header |= {f"{table}_at": places[table] * WORD, f"{table}_count": self.count(table)}
        header |= {"words_at": words_at * WORD, "words_count": len(self._words)}
        header |= {"texts_at": texts_at * WORD, "texts_count": len(self._texts)}
        constants = layout().constants
        header |= {"magic": constants["IMAGE_MAGIC"], "version": constants["IMAGE_VERSION"], "bytes": total}
        image.write("header", 0, header)
        return image


class Image:
    """The shared memory, seen as words.

    Attributes
    ----------
    file : int
        File descriptor, for the runner to inherit.
    cells : array of int64
    """

    def __init__(self, size_bytes: int) -> None:
        self.file = os.memfd_create("virtsim-image", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.file, size_bytes)
            self.memory = mmap.mmap(self.file, size_bytes)
        except BaseException:
            os.close(self.file)
            raise
        self.cells: NDArray[np.int64] = np.frombuffer(self.memory, dtype=np.int64)

    def write(self, struct: str, at: int, row: Mapping[str, Any]) -> None:
        """Write members of the struct at word ``at``."""
        members = layout().structs[struct]
        for name, value in row.items():
            offset, words = members[name]
            values = value if words > 1 else [value]
            for i, number in enumerate(values):
                self.cells[at + offset + i] = number if number < 1 << 63 else number - (1 << 64)

    def header(self, name: str) -> int:
        """A member of the header."""
        return int(self.cells[layout().structs["header"][name].offset])

    def header_text(self, name: str) -> str:
        """A text member of the header."""
        offset, words = layout().structs["header"][name]
        raw = self.cells[offset : offset + words].tobytes()
        return raw.split(b"\0", 1)[0].decode(errors="replace")

    def row(self, table: str, index: int) -> dict[str, Any]:
        """A row of a table: numbers, and arrays for the members that are arrays."""
        struct = TABLES[table]
        at = self.header(f"{table}_at") // WORD + index * layout().sizes[struct]
        row: dict[str, Any] = {}
        for name, (offset, words) in layout().structs[struct].items():
            cells = self.cells[at + offset : at + offset + words]
            row[name] = int(cells[0]) if words == 1 else cells
        return row

    def table(self, table: str, count: int) -> NDArray[np.int64]:
        """The first ``count`` rows, shape (count, members), of a table whose members are single words."""
        at, width = self.header(f"{table}_at") // WORD, layout().sizes[TABLES[table]]
        return self.cells[at : at + count * width].reshape(count, width).copy()

    def close(self) -> None:
        """Give the memory back; arrays that were cut from it must be gone."""
        os.close(self.file)
        self.cells = np.empty(0, dtype=np.int64)
        try:
            self.memory.close()
        except BufferError:  # an exception's traceback still holds a view; it goes with it
            return
