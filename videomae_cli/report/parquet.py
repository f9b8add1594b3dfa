"""Records as Parquet: a row for each input, its labels nested in it. pyarrow is imported where it is first needed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .text import encodable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..inference.records import Record

ROWS_IN_GROUP = 1000
"""Rows that are held and compressed together: what memory the writer takes, and what a reader reads at once."""


class ParquetRenderer:
    """Turns records into a Parquet file, piece by piece, as `formats.Renderer` does into text.

    Columns: path, status, predictions (list of label, index, score), sampling, video, warnings, kind, message, and
    path_bytes, which is null unless the name is not UTF-8 (path has backslash escapes then).

    Raises:
        UsageError: pyarrow is not installed.
    """

    ends_anywhere = False  # the end says where each piece begins

    def __init__(self) -> None:
        require_pyarrow()
        import pyarrow
        from pyarrow import parquet

        self._sink = _Sink()
        self._schema = _schema(pyarrow)
        self._table = pyarrow.Table.from_pylist
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def head(self) -> bytes:
        """What stands before the first row."""
        return self._sink.take()

    def record(self, record: Record, more: Mapping[str, Any] | None = None) -> bytes:
        """Take one record; gives the bytes of a group of rows when one is full.

        Args:
            record: what is said of one input.
            more: what the rows do not say.
        """
        return self.values(record.to_dict())

    def values(self, values: Mapping[str, Any]) -> bytes:
        """As `record`, for plain values.

        Args:
            values: as `to_dict` gives them.
        """
        path = values["path"]
        name = os.fsencode(path)
        is_utf8 = encodable(path) == path
        row = {field: values.get(field) for field in self._schema.names}
        self._rows.append(row | {"path": encodable(path), "path_bytes": None if is_utf8 else name})
        if row["message"]:  # it quotes the name
            self._rows[-1]["message"] = encodable(row["message"])
        if len(self._rows) == ROWS_IN_GROUP:
            self._flush()
        return self._sink.take()

    def tail(self) -> bytes:
        """The rest of the rows, and the index of all."""
        if self._rows:
            self._flush()
        self._writer.close()
        return self._sink.take()

    def _flush(self) -> None:
        self._writer.write_table(self._table(self._rows, schema=self._schema), row_group_size=ROWS_IN_GROUP)
        self._rows = []


def require_pyarrow() -> None:
    """Find out early whether Parquet can be written.

    Raises:
        UsageError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise UsageError(
            "parquet needs pyarrow, which is not installed",
            "Run `pip install pyarrow` (or '.[parquet]'), or write .jsonl.",
        )


class _Sink:
    """A file, as far as pyarrow is concerned, whose bytes are taken away as they come."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def take(self) -> bytes:
        """What was written since the last call."""
        data = b"".join(self._pieces)
        self._pieces = []
        return data


def _schema(pa: Any) -> Any:
    """The columns, in the order of the record's keys; `pa` is pyarrow."""
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    prediction = pa.struct([("label", text), ("index", pa.int32()), ("score", real)])
    sampling = pa.struct([("views", text), ("stride", whole), ("frames", pa.list_(pa.list_(whole)))])
    video = pa.struct(
        [
            ("num_frames", whole),
            ("fps", real),
            ("duration_seconds", real),
            ("width", whole),
            ("height", whole),
            ("codec", text),
            ("rotation", whole),
        ]
    )
    return pa.schema(
        [
            pa.field("path", text, nullable=False),
            pa.field("status", text, nullable=False),
            ("predictions", pa.list_(prediction)),
            ("sampling", sampling),
            ("video", video),
            ("warnings", pa.list_(text)),
            ("kind", text),
            ("message", text),
            ("path_bytes", pa.binary()),
        ]
    )
