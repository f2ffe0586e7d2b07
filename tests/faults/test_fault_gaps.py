"""What killed attempts leave on their machine, and columns that are named like our own."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.faults.child import Seam
from tests.faults.places import FIRST, Bench
from tests.faults.test_fault_values import stored, world_of


def test_a_killed_attempt_leaves_no_scratch_folder(bench: Bench) -> None:
    base = bench.base("duckdb", "append")
    with bench.copy(base) as world:
        bench.disturb(base, world, (Seam("dataforge.runtime.load:load"),))
        assert world.see().debris == ()


@pytest.mark.parametrize("kind", ["postgres", "duckdb"])
def test_a_column_of_the_name_of_our_own_is_kept_or_refused(bench: Bench, kind: str) -> None:
    with world_of(bench, kind) as world:
        table = pa.table({"n": [1], "_dataforge_run": ["v"]})
        pq.write_table(table, world.home / "configs" / "in.parquet")
        outcome = world.run(bench.attempts, FIRST, tries=1).run()
        rows = stored(world)
    assert (rows == [] and outcome.kind) or rows[0]["_dataforge_run"] == "v", rows
