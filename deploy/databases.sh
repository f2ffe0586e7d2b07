#!/bin/sh
# Run by the PostgreSQL image when its data folder is new: apart from Airflow's own, the database that pipelines write
# to and the one in which DataForge keeps revisions, drafts, chats, usage and audit.
set -eu

psql --set ON_ERROR_STOP=1 --set password="$POSTGRES_PASSWORD" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE warehouse LOGIN PASSWORD :'password';
CREATE DATABASE warehouse OWNER warehouse;
CREATE ROLE dataforge LOGIN PASSWORD :'password';
CREATE DATABASE dataforge OWNER dataforge;
SQL
