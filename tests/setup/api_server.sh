#!/bin/sh
# Build a Kubernetes API server out of Debian's source package: FOLDER/kube-apiserver, kept for the next time.
# Usage: api_server.sh FOLDER     (apt's own package sources say from where; about three minutes on two cores)
#
# Debian's newest is Kubernetes 1.20: it knows server-side apply, CRDs and RBAC, but no CEL rules, and CronJobs as
# batch/v1beta1 only. Cloud providers and dockershim are left out; they are most of what would be compiled.
set -eu

folder=$1
[ -x "$folder/kube-apiserver" ] && exit 0
here=$(dirname "$0")
sh "$here/programs.sh" go=golang-go etcd=etcd-server xz=xz-utils unshare=util-linux ip=iproute2
sh "$here/programs.sh" --package golang-github-modern-go-reflect2-dev

mkdir -p "$folder/apt/lists/partial" "$folder/go/src/k8s.io"
folder=$(cd "$folder" && pwd)
# The machine's own package sources, as sources of source packages.
# shellcheck disable=SC2016  # apt-get's own variables
apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sort -u > "$folder/apt/sources.list"
apt() {
    apt-get -qq -o Dir::Etc::SourceList="$folder/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$folder/apt/lists" -o APT::Sandbox::User=root "$@"
}
apt update
(cd "$folder" && apt source --download-only kubernetes)
ls "$folder"/kubernetes_1.20*.orig.tar.gz >/dev/null || { echo "error: this needs Debian bookworm's package sources" >&2; exit 4; }

tree=$folder/go/src/k8s.io/kubernetes
mkdir -p "$tree"
tar -xf "$folder"/kubernetes_*.orig.tar.gz -C "$tree" --strip-components=1
# The bundled one reads Go's maps in a way that Go 1.18 ended: the server would crash on the first custom resource.
reflect2=$tree/vendor/github.com/modern-go/reflect2
rm -rf "$reflect2"
cp -rL /usr/share/gocode/src/github.com/modern-go/reflect2 "$reflect2"

export GOPATH="$folder/go" GO111MODULE=off GOFLAGS="" GOCACHE="$folder/cache" CGO_ENABLED=0
cd "$tree"
go build -o "$folder/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
typed=$(grep -rlF '+k8s:openapi-gen=' --include=doc.go --include=*.go staging/src pkg cmd 2>/dev/null |
    grep -v -e /testdata/ -e _test.go -e /cmd/ -e zz_generated -e sample- -e kube-aggregator/example | xargs -n 1 dirname | sort -u |
    sed 's|^staging/src/|vendor/|; s|^|k8s.io/kubernetes/|' | paste -s -d , -)
"$folder/openapi-gen" --input-dirs "$typed" --output-base "$folder/go/src" --output-file-base zz_generated.openapi \
    --output-package k8s.io/kubernetes/pkg/generated/openapi --go-header-file /dev/null --report-filename "$folder/report"
# The first is what the server says of itself to clients, the second to whoever runs it.
stamps=''
for package in client-go/pkg component-base; do
    stamp=k8s.io/kubernetes/vendor/k8s.io/$package/version
    stamps="$stamps -X $stamp.gitVersion=v1.20.2 -X $stamp.gitMajor=1 -X $stamp.gitMinor=20"
done
go build -tags providerless,dockerless -gcflags 'all=-N -l' -ldflags "-s -w$stamps" \
    -o "$folder/kube-apiserver.part" ./cmd/kube-apiserver
mv "$folder/kube-apiserver.part" "$folder/kube-apiserver"
rm -rf "$folder/go" "$folder/cache" "$folder/apt" "$folder"/kubernetes_* "$folder/openapi-gen" "$folder/report"
