"""Rows as a pandas table; pandas is imported when it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from softmorph_cli.errors import UsageError

if TYPE_CHECKING:
    import pandas


def data_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> pandas.DataFrame:
    """Return rows as a pandas table.

    Args:
        rows: Values by column; None is a missing value.
        columns: The columns in order; None for those of the rows.

    Raises:
        UsageError: If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UsageError("a table needs pandas, which is not installed: pip install pandas") from error
    return pandas.DataFrame(list(rows), columns=columns)
