"""Engines that run transforms; DuckDB is the embedded one."""
