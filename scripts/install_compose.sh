#!/bin/sh
# Puts Debian trixie's Docker Compose into .tools, for the tests that check docker-compose.yml.
# It needs no root, no Docker engine, and no change of the system's package sources: apt works with
# folders of its own. Debian 12 itself has only Compose 1, which reads such a file wrongly.
set -eu
cd "$(dirname "$0")/.."
program=usr/libexec/docker/cli-plugins/docker-compose
[ ! -x ".tools/$program" ] || exit 0
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
if ! command -v apt-get >/dev/null || [ ! -r $keyring ]; then
  echo "Docker Compose is not installed: that needs Debian's apt-get and archive keys" >&2
  exit 0
fi
apt=$(mktemp -d)
trap 'rm -rf "$apt"' EXIT
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/preferences.d"
echo "deb [signed-by=$keyring] http://deb.debian.org/debian trixie main" >"$apt/sources.list"
cat >"$apt/apt.conf" <<CONFIGURATION
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$apt/preferences.d";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "";
CONFIGURATION
export APT_CONFIG="$apt/apt.conf"
(
  cd "$apt"
  apt-get update -qq && apt-get download -qq docker-compose/trixie && dpkg -x docker-compose_*.deb new
) || {
  echo "Docker Compose could not be downloaded from Debian; its tests need it" >&2
  exit 0
}
mkdir -p ".tools/$(dirname $program)"
mv "$apt/new/$program" ".tools/$program"
