#!/bin/sh
# Writes .env for docker-compose.yml: the names of .env.example, each with a random value.
# The first argument is the folder (default: this one). A file that is there stays as it is.
set -eu
folder=${1:-.}
if [ -e "$folder/.env" ]; then
  echo "$folder/.env is there already; it stays as it is" >&2
  exit 0
fi
umask 077
new=$(mktemp "$folder/.env.XXXXXX")
trap 'rm -f "$new"' EXIT
sed -n 's/^\([A-Z_]*\)=$/\1/p' "$(dirname "$0")/../.env.example" | while read -r name; do
  value=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  echo "$name=$value"
done >"$new"
mv "$new" "$folder/.env"
echo "wrote $folder/.env"
