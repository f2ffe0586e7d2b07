#!/bin/sh
# Run by the PostgreSQL image when its data folder is new: the database that pipelines write to, apart from Airflow's.
set -eu

psql --set ON_ERROR_STOP=1 --set password="$POSTGRES_PASSWORD" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE warehouse LOGIN PASSWORD :'password';
CREATE DATABASE warehouse OWNER warehouse;
SQL
