#!/usr/bin/env bash
# Run once before Airflow starts (service `init`): makes the folders, the login and the database.
set -euo pipefail

mkdir -p /opt/airflow/logs /opt/airflow/bundles /opt/airflow/dataforge
if [ ! -s /opt/airflow/dataforge/passwords.json ]; then
  python -c 'import json, os; print(json.dumps({"admin": os.environ["AIRFLOW_ADMIN_PASSWORD"]}))' \
    >/opt/airflow/dataforge/passwords.json
fi
airflow db migrate
