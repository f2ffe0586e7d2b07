"""DataForge: JSON pipeline configs become Airflow DAGs that move Arrow batches from sources to destinations."""

__version__ = "0.1.0"
