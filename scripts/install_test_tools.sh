#!/bin/sh
# Installs the servers and tools that integration tests and benchmarks run, from Debian's packages.
# Without root it installs only what needs none: the tests that lack a tool are skipped and say so.
set -eu
"$(dirname "$0")/install_compose.sh"
packages=""
command -v curl >/dev/null || packages="$packages curl"
command -v ps >/dev/null || packages="$packages procps"
command -v promtool >/dev/null || packages="$packages prometheus"
command -v victoria-metrics >/dev/null || packages="$packages victoria-metrics"
command -v chromium >/dev/null || packages="$packages chromium"
command -v amtool >/dev/null || packages="$packages prometheus-alertmanager"
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || packages="$packages faketime"
command -v strace >/dev/null || packages="$packages strace"
command -v wrk >/dev/null || packages="$packages wrk"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages="$packages postgresql"
[ -n "$packages" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "for all tests to run: sudo apt-get install$packages" >&2
  exit 0
fi
# The tests start servers of their own; Debian's must not start because they were installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
  trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of names
apt-get install -y -qq --no-install-recommends $packages >/dev/null
