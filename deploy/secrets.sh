#!/usr/bin/env bash
# Prints fresh secrets for docker-compose.yaml:   deploy/secrets.sh > .env
set -euo pipefail

random() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }

echo "AIRFLOW_FERNET_KEY=$(random | tr '+/' '-_')"
echo "AIRFLOW_JWT_SECRET=$(random)"
echo "AIRFLOW_SECRET_KEY=$(random)"
echo "AIRFLOW_ADMIN_PASSWORD=$(random | tr -dc 'A-Za-z0-9' | head -c 20)"
echo "POSTGRES_PASSWORD=$(random | tr -dc 'A-Za-z0-9' | head -c 32)"
