"""Write the orders that all scenarios move: `generate.py ROWS FILE` (.csv or .ndjson). The same rows every time."""

from __future__ import annotations

import sys
from pathlib import Path

ORDERS = """
select
  i as id,
  'customer ' || (i * 7919 % 100003) as customer,
  'user' || (i % 50000) || '@example.org' as email,
  (['new', 'paid', 'shipped', 'returned'])[1 + i % 4] as status,
  cast(((i * 104729) % 1000000) / 100.0 as decimal(12, 2)) as amount,
  (i * 31) % 50 as quantity,
  cast(i * 0.0017 as double) as score,
  i % 3 = 0 as is_gift,
  date '2023-01-01' + cast(i % 730 as integer) as order_date,
  timestamp '2023-01-01 00:00:00' + to_seconds(i * 13) as updated_at,
  'SKU-' || lpad(cast(i % 99991 as varchar), 6, 'x') as sku,
  'some free text about order number ' || i || ', with a comma' as note
from range({rows}) t(i)
"""


def main() -> None:
    """Write the file under another name first, so that an interrupted run leaves no half one."""
    import duckdb

    rows, target = int(sys.argv[1]), Path(sys.argv[2])
    part = target.with_name(f".{target.name}.part")
    how = "format csv, header" if target.suffix == ".csv" else "format json"
    con = duckdb.connect()
    con.execute(f"copy ({ORDERS.format(rows=rows)}) to '{part}' ({how})")
    part.rename(target)


if __name__ == "__main__":
    main()
