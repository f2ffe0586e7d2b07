"""What the sweeps found and the product does not do yet; each goes when it passes."""

from __future__ import annotations

import pytest
from tests.faults.child import Seam
from tests.faults.places import Bench


@pytest.mark.xfail(reason="nobody removes the scratch folders of killed attempts", strict=True)
def test_a_killed_attempt_leaves_no_scratch_folder(bench: Bench) -> None:
    base = bench.base("duckdb", "append")
    with bench.copy(base) as world:
        bench.disturb(base, world, (Seam("dataforge.runtime.load:load"),))
        assert world.see(gaps=True).debris == ()
