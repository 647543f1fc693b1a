"""The rows of a small CSV file that a person wrote."""

import csv
import io
from collections.abc import Iterator, Sequence

from datasets.errors import BadUsageError


def rows_of(data: bytes, columns: Sequence[str], file: str) -> Iterator[tuple[str, list[str]]]:
    """Yield where each row is, for errors, and its cells, stripped. Empty lines are left out.

    columns: the header, which the file must have.
    file: what names it in errors.
    Raises BadUsageError naming the line where it is no such file.
    """
    wanted = ",".join(columns)
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = [cell.strip().lower() for cell in next(rows, [])]
        if header != list(columns):
            raise BadUsageError(f"{file}, line 1: the header is {','.join(header)!r}; write {wanted}")
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            where = f"{file}, line {rows.line_num}"
            if len(cells) != len(columns):
                raise BadUsageError(f"{where}: {len(cells)} cells; give {len(columns)}: {wanted}")
            yield where, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadUsageError(f"{file}: {error}; it is a CSV file in UTF-8") from error
