"""Reading Parquet without pandas, which `pq.read_table` imports and nothing here needs."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from captionrl.errors import UserError
from captionrl.files import check_claim, read_bytes


def read_table(path: Path, schema: pa.Schema, fix: str) -> pa.Table:
    """The table in a file, in the columns and types of `schema`; `fix` says what to do with a file that is none."""
    try:
        data = read_bytes(path)
        file = pq.ParquetFile(pa.BufferReader(data))
        check_claim(8 * file.metadata.num_rows * len(schema), len(data))  # a repeated value takes no room
        table = file.read().select(schema.names).cast(schema)
        table.validate(full=True)  # text that is not UTF-8
        return table
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not readable ({str(error).splitlines()[0]}); {fix}") from None
