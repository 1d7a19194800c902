#!/bin/sh
# Run tests/cluster: bundles, kubectl, a registry and a real API server, in a network namespace with nothing but loopback.
# Usage: cluster.sh FOLDER PYTHON     (FOLDER keeps the API server and the two bundles)
set -eu

folder=$1 python=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
sh "$here/api_server.sh" "$folder"
folder=$(cd "$folder" && pwd)
# The example, and a newer one.
for version in 0.1.0 0.2.0; do
    rm -rf "${folder:?}/$version"
    cp -r "$root/examples/driver-stats" "$folder/$version"
    sed -i "s/^version: .*/version: $version/" "$folder/$version/bundle.yaml"
    rm -f "$folder/$version/bundle.lock"
    make -C "$root" bundle CONFIG="$folder/$version/bundle.yaml" OUTPUT="$folder"
done
export CI=true BUNDLER_TEST_CLUSTER="$folder"
# shellcheck disable=SC2016  # expanded inside
unshare --net sh -c 'ip link set lo up && exec "$@"' sh "$python" -m pytest "$root/tests/cluster" --no-cov -n 0
