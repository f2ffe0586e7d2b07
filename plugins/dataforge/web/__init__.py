"""The web API: a FastAPI app below /dataforge of Airflow's API server. Only this package knows HTTP."""
