"""Reading Parquet without pandas, which `pq.read_table` imports and nothing here needs."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from captionrl.errors import UserError
from captionrl.files import check_claim, read_bytes

ROWS = 512  # decoded at a time: what a few bytes repeat is found before it has filled the memory
PAGES = 2**20  # bytes: what is smaller may be as dense as it likes


def read_table(path: Path, schema: pa.Schema, fix: str) -> pa.Table:
    """The table in a file, in the columns and types of `schema`; `fix` says what to do with a file that is none."""
    try:
        data = read_bytes(path)
        file = pq.ParquetFile(pa.BufferReader(data))
        check_claim(8 * file.metadata.num_rows * len(schema), len(data))  # a repeated value takes no room
        _check_pages(file.metadata, len(data))
        parts, size = [pa.Table.from_batches([], file.schema_arrow).select(schema.names).cast(schema)], 0
        for batch in file.iter_batches(ROWS, columns=schema.names):
            parts.append(pa.Table.from_batches([batch]).select(schema.names).cast(schema))
            size += parts[-1].nbytes
            check_claim(size, len(data))
        table = pa.concat_tables(parts)
        table.validate(full=True)  # text that is not UTF-8
        return table
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not readable ({str(error).splitlines()[0]}); {fix}") from None


def _check_pages(metadata: pq.FileMetaData, stored: int) -> None:
    """Raise ValueError for columns that are far larger than the file: no text is so dense."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    size = sum(group.column(column).total_uncompressed_size for group in groups for column in range(group.num_columns))
    check_claim(size, stored, PAGES)
