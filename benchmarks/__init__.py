"""The benchmarks: DataForge beside `psql \\copy`, dlt, dag-factory and hand-written DAGs, in one run on one machine."""
