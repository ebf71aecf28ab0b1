#!/bin/sh
# Run once by the image of PostgreSQL, when its folder is still empty: a database for the state and
# one for MLflow, each with an owner who cannot read the other.
set -eu
create() {
  # psql quotes the values itself, whatever is in them.
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set name="$1" --set password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}
create ctr "$STATE_DB_PASSWORD"
create mlflow "$MLFLOW_DB_PASSWORD"
