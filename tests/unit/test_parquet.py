"""Records as a Parquet file, read back by pyarrow."""

from __future__ import annotations

import io
import sys

import pyarrow
import pytest
from pyarrow import parquet

from tests.unit.test_formats import BAD, GOOD
from videomae_cli.errors import UsageError
from videomae_cli.inference.records import Failure, Prediction
from videomae_cli.report.parquet import ROWS_IN_GROUP, ParquetRenderer


def rendered(*records: Prediction | Failure) -> list[bytes]:
    renderer = ParquetRenderer()
    return [renderer.head(), *map(renderer.record, records), renderer.tail()]


def read(pieces: list[bytes]) -> pyarrow.Table:
    return parquet.read_table(io.BytesIO(b"".join(pieces)))


def test_a_row_for_each_record() -> None:
    good, bad = read(rendered(GOOD, BAD)).to_pylist()
    wanted = GOOD.to_dict()
    assert good.pop("path") == "a dir/naïve, \\udcff\n.mp4"
    assert (
        good.pop("path_bytes")
        == "a dir/naïve, ".encode() + b"\xff\n.mp4"
        == wanted.pop("path").encode(errors="surrogateescape")
    )
    assert good == wanted | {"kind": None, "message": None}
    labels = {"predictions": None, "sampling": None, "video": None, "warnings": None}
    assert bad == BAD.to_dict() | labels | {"path_bytes": None}


def test_a_message_about_a_name_that_is_not_utf8() -> None:
    (row,) = read(rendered(Failure("\udcff.mp4", "empty", "'\udcff.mp4' has zero bytes"))).to_pylist()
    assert row["message"] == "'\\udcff.mp4' has zero bytes"


def test_no_record_is_a_table_without_rows() -> None:
    table = read(rendered())
    assert (table.num_rows, table.column_names[:3]) == (0, ["path", "status", "predictions"])


def test_rows_leave_memory_group_by_group() -> None:
    num_records = 2 * ROWS_IN_GROUP + 1
    pieces = rendered(*[GOOD] * num_records)
    assert [k for k, piece in enumerate(pieces) if piece] == [0, ROWS_IN_GROUP, 2 * ROWS_IN_GROUP, num_records + 1]
    file = parquet.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert [file.metadata.row_group(k).num_rows for k in range(3)] == [ROWS_IN_GROUP, ROWS_IN_GROUP, 1]


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pyarrow")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(UsageError, match="parquet needs pyarrow") as caught:
        ParquetRenderer()
    assert "pip install pyarrow" in caught.value.hint
