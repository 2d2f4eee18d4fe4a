"""Reading Parquet without pandas, which `pq.read_table` imports and nothing here needs."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from captionrl.errors import UserError
from captionrl.files import read_bytes


def read_table(path: Path, schema: pa.Schema, fix: str) -> pa.Table:
    """The table in a file, in the columns and types of `schema`; `fix` says what to do with a file that is none."""
    try:
        table = pq.ParquetFile(pa.BufferReader(read_bytes(path))).read()
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise UserError(f"{path}: not readable ({str(error).splitlines()[0]}); {fix}") from None
