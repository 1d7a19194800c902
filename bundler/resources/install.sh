#!/bin/sh
# Verify, push and install an unpacked bundle with tar, sha256sum, skopeo and kubectl alone.
#
#   mkdir feast && tar -xf NAME-VERSION.bundle.tar -C feast
#   mkdir feast && cat NAME-VERSION.bundle.tar.001 NAME-VERSION.bundle.tar.002 | tar -xf - -C feast      (each volume by name)
#   sh feast/install.sh verify
#   sh feast/install.sh push  registry.example.com:5000/feast
#   sh feast/install.sh apply registry.example.com:5000/feast
#   sh feast/install.sh all   registry.example.com:5000/feast      the three in turn
#
# Each may be repeated: what is there already stays as it is (on OpenShift, which adds pull secrets to accounts, a second
# apply ends with a conflict: use bundler.pyz install there). Set in the environment where needed:
#   PUBLIC_KEY=FILE        signer's public key (PEM); every command then refuses what this key has not signed (needs openssl)
#   KUBECTL=oc             the program to use in place of kubectl, with options if any
#   SKOPEO_OPTIONS=...     options of skopeo copy, e.g. --dest-tls-verify=false, --dest-authfile=FILE (skopeo login makes it)
#   TIMEOUT=600s           how long to wait for the operator and for the feature store
#
# Approvals of reviewers are not checked here: bundler.pyz install --require-approval ROLE demands them.
#
# push keeps the names as they are: for a registry without nested paths use bundler.pyz push --flatten, and install --flatten.
#
# Exit codes: 0 done, 2 wrong usage, 4 a program is missing, 6 verification failed, 7 the registry refused,
# 8 the cluster refused or is not ready, 9 images were pushed without artifacts that the registry refuses.
set -eu

key=${PUBLIC_KEY:-}
case $key in
'' | /*) ;;
*) key=$PWD/$key ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
kubectl=${KUBECTL:-kubectl}
skopeo_options=${SKOPEO_OPTIONS:-}
timeout=${TIMEOUT:-600s}
tab=$(printf '\t')
work=''
verified=''
trap 'test -z "$work" || rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# What a bundle or a server says steers no terminal: everything but visible ASCII becomes a question mark.
shown() { LC_ALL=C sed "s/[^$tab -~]/?/g"; }

say() { printf '%s\n' "$*" | shown >&2; }

fail() { # CODE TEXT...
    code=$1
    shift
    say "error: $*"
    exit "$code"
}

need() { # PROGRAM...
    for program in "$@"; do
        command -v "$program" >/dev/null 2>&1 || fail 4 "the program $program is not on PATH: install it"
    done
}

# The texts of a bundle are data. Whatever is made of one is an operand of its own behind "--", or a line that a fixed
# pattern has accepted; none becomes part of a program for sed, awk or find.
part='[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*'
label='[a-z0-9]([a-z0-9-]*[a-z0-9])?'

# Exit where a file of the bundle has a line that is not of the form given.
each_line() { # FILE PATTERN
    test -f "$1" || fail 6 "${1##*/} is missing: get the bundle again"
    bad=$(LC_ALL=C grep -Evn -- "^($2)\$" "$1" | sed 's/:.*//' | paste -s -d ' ' -)
    test -z "$bad" || fail 6 "${1##*/} has lines that no bundle has: $bad. Do not use this bundle, get it again"
}

# Exit where a file has a name, or is of a kind, that no bundle has.
plain_names() {
    need find paste
    odd=$(LC_ALL=C find . \( ! -type f ! -type d \) -o -name '*[!A-Za-z0-9_+@.-]*' -o -name '-*' -o -name '.?*' | paste -s -d ' ' -)
    case $odd in
    *'/._'*) say "names that begin with ._ are those of macOS: find $here -name '._*' -delete" ;;
    esac
    test -z "$odd" || fail 6 "links, devices or file names that a bundle never contains: $odd"
}

# The signatures by the id of their key; bundle.json cannot list them, since they sign it.
signatures() {
    test ! -d signatures || find signatures -type f | LC_ALL=C grep -E '^signatures/[0-9a-f]{64}[.]sig$' || true
}

# What reviewers put in: a text and its signature for each approval. This program accepts and does not check them.
approvals() {
    test ! -d approvals || find approvals -type f | LC_ALL=C grep -E '^approvals/[a-z][a-z0-9-]{0,31}-[0-9a-f]{64}[.](json|sig)$' || true
}

# Fails unless one of the signatures over bundle.json is by PUBLIC_KEY; without the key, says that none was checked.
signed() {
    test -n "$key" || {
        say "note: signature not checked: PUBLIC_KEY is not set"
        return 0
    }
    need openssl
    test -f "$key" || fail 2 "there is no public key $key"
    for signature in bundle.json.sig $(signatures); do
        test ! -f "$signature" || ! openssl dgst -sha256 -verify "$key" -signature "$signature" bundle.json >/dev/null 2>&1 || return 0
    done
    fail 6 "no signature of this bundle is by PUBLIC_KEY: do not use it, ask its builder"
}

# Name and version of the bundle that a delta leaves layers to; nothing where the bundle is whole.
base_of_delta() {
    sed -n '/^ "base": {$/,/^ }/{
        s/^  "name": "\(.*\)",$/\1/p
        s/^  "version": "\(.*\)"$/\1/p
    }' bundle.json | paste -s -d ' ' -
}

# Exit where a file is not, up to its last byte, the text given; $( ) would hide line ends, so both have a dot behind them.
same() { # FILE TEXT
    test "$2." = "$(cat "$1" && printf .)" || fail 6 "$1 does not say what bundle.json says: do not use this bundle, get it again"
}

# What images.txt or index.json must be: all from bundle.json, but for the names of images in this folder, which
# images.txt says and index.json must repeat.
names() { # images|index
    awk -v wanted="$1" -v tab="$tab" '
        function json(line) { sub(/^ *"[A-Za-z]*": /, "", line); sub(/,$/, "", line); return line }
        function plain(line) { line = json(line); return substr(line, 2, length(line) - 2) }
        NR == FNR { split($0, row, tab); name[NR] = row[1]; next }
        /^ "registry": / { registry = plain($0); sub(/\/*$/, "/", registry) }
        /^ "images": / { inside = 1 }
        /^ [^ ]/ && !/^ "images": / { inside = 0 }
        !inside { next }
        /^   "internal": / { internal[++count] = plain($0) }
        /^   "reference": / { reference[count] = json($0) }
        /^    "digest": / { digest[count] = plain($0) }
        /^    "mediaType": / { type[count] = json($0) }
        /^     "architecture": / { platform[count] = "\"platform\":{\"architecture\":" json($0) }
        /^     "os": / { platform[count] = platform[count] ",\"os\":" json($0) }
        /^     "variant": / { platform[count] = platform[count] ",\"variant\":" json($0) }
        /^    "size": / { size[count] = json($0) }
        END {
            if (wanted == "index") printf "{\"manifests\":["
            else print "# " substr(registry, 1, length(registry) - 1)
            for (number = 1; number <= count; number++) {
                target = internal[number]
                if (index(target, registry) == 1) target = substr(target, length(registry) + 1)
                sub(/@.*/, "", target)
                if (target !~ /:/) target = target ":sha256-" substr(digest[number], 8, 12)
                own = name[number + 1]
                if (wanted == "images") { print own tab digest[number] tab target; continue }
                gsub(/["\\]/, "\\\\&", own)
                printf "%s{\"annotations\":{\"io.containerd.image.name\":%s,", (number > 1 ? "," : ""), reference[number]
                printf "\"org.opencontainers.image.ref.name\":\"%s\"},", own
                printf "\"digest\":\"%s\",\"mediaType\":%s,", digest[number], type[number]
                printf "%s\"size\":%s}", (platform[number] ? platform[number] "}," : ""), size[number]
            }
            if (wanted == "index") printf "],\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"schemaVersion\":2}"
        }' images.txt bundle.json
}

# --- verify: every file is listed with the checksum it has, and nothing else is here ---------------------------------

verify() {
    need sha256sum find sort awk
    test -f SHA256SUMS || fail 2 "no SHA256SUMS in $here: run this from the folder that the bundle was unpacked to"
    plain_names
    each_line SHA256SUMS '[0-9a-f]{64}  [A-Za-z0-9_+@][A-Za-z0-9_+@.-]*(/[A-Za-z0-9_+@][A-Za-z0-9_+@.-]*)*'
    sha256sum --strict --quiet -c SHA256SUMS >&2 || fail 6 "files are missing or altered: do not use this bundle, get it again"
    # A line that occurs once is either a file that nobody listed or a listed path outside of this folder.
    extra=$({
        find . -type f | sed 's|^\./||'
        sed 's|^[0-9a-f]*  ||' SHA256SUMS
        printf '%s\n' SHA256SUMS
        if test -f bundle.json.sig; then printf '%s\n' bundle.json.sig; fi
        signatures
        approvals
    } | LC_ALL=C sort | uniq -u)
    test -z "$extra" || fail 6 "not listed in SHA256SUMS, so not verified; delete them or unpack the bundle again: $extra"
    # bundle.json, which is what is signed, must say the same; each of its files has its digest and its path in a row.
    same SHA256SUMS "$({
        sha256sum bundle.json
        sed -n '/^   "digest": /{
            N
            s/^   "digest": "sha256:\(.*\)",\n   "path": "\(.*\)",$/\1  \2/p
        }' bundle.json
    } | awk '
        NR == 1 { own = $0; next }
        own != "" && $2 != "oci-layout" && $2 != "index.json" { print own; own = "" }
        { print }
        END { if (own != "") print own }')
"
    each_line images.txt "# .*|[ -~]+${tab}sha256:[0-9a-f]{64}${tab}$part(/$part)*:[A-Za-z0-9_][A-Za-z0-9_.-]*"
    same images.txt "$(names images)
"
    same index.json "$(names index)"
    signed
    verified=yes
    say "verified: $(wc -l <SHA256SUMS | tr -d ' ') files"
    test -z "$(approvals)" || say "note: approvals are not checked here: use bundler.pyz install --require-approval ROLE, or openssl"
    say "note: not checked here: the tar, the form of bundle.json, what images and documents say (bundler.pyz verify BUNDLE checks them)"
    base=$(base_of_delta)
    test -z "$base" || say "note: this is a delta: layers of its images are only in the bundle $base"
}

# With a key, nothing is pushed or applied of a bundle that was not verified by this run.
trusted() {
    test -z "$verified" || return 0
    if test -n "$key"; then verify; else signed; fi
}

# --- push: every image of images.txt (name in this folder, digest, name in the registry) -----------------------------

push() { # REGISTRY
    need skopeo
    plain_names
    trusted
    each_line images.txt "# .*|[ -~]+${tab}sha256:[0-9a-f]{64}${tab}$part(/$part)*:[A-Za-z0-9_][A-Za-z0-9_.-]*"
    base=$(base_of_delta)
    artifacts=$(artifacts)
    # Images first: no image waits for a signature that the registry may refuse.
    grep -v '^#' images.txt | push_each "$1" image || return
    grep -v '^#' images.txt | push_each "$1" artifact
}

# The names of what does not run: signatures, attestations, bills of materials.
artifacts() {
    sed -n '/^   "internal": "/{
        N
        s/^   "internal": "\(.*\)",\n   "platforms": \[\],$/\1/p
    }' bundle.json
}

push_each() { # REGISTRY image|artifact <LINES
    refused=''
    built_for=$(sed -n '1s/^# //p' images.txt)
    while IFS=$tab read -r name digest target; do
        kind=image
        if printf '%s\n' "$artifacts" | grep -qFx -- "$built_for/$target"; then kind=artifact; fi
        test "$kind" = "$2" || continue
        say "pushing $1/$target"
        if test "$kind" = artifact && of_the_site "$1/$target" "$digest"; then
            say "$1/$target has other signatures, which stay; bundler.pyz push merges them"
            refused="$refused $1/$target"
            continue
        fi
        # shellcheck disable=SC2086  # options are words
        said=$(skopeo copy --quiet --all --preserve-digests $skopeo_options -- "oci:.:$name" "docker://$1/$target" 2>&1 </dev/null) || {
            say "$said"
            case $said in
            *'ource image rejected'*)
                say "policy.json refuses it; let it accept this folder: \"transports\": {\"oci\": {\"$here\": [{\"type\": \"insecureAcceptAnything\"}]}}"
                ;;
            esac
            if test "$kind" = artifact; then
                refused="$refused $1/$target"
                continue
            fi
            nested=''
            case $target in */*) nested=yes ;; esac
            fail 7 "$1/$target was not pushed; run this again, what is there already is not sent twice${base:+
  (this is a delta: push the bundle $base before it; skopeo finds its layers only below the same image name)}${nested:+
  (this script keeps names with several slashes; for a registry without nested paths: bundler.pyz push --flatten)}"
        }
        test -z "$said" || say "$said"
        say "pushed  $1/$target@$digest"
    done
    test -z "$refused" ||
        fail 9 "every image is there, and artifacts beside them (signatures, attestations) are not:$refused"
}

# Whether a tag names something else than ours: a site may have added signatures of its own.
of_the_site() { # NAME DIGEST
    looking=$(printf '%s' "$skopeo_options" | sed 's/--dest-/--/g')
    # shellcheck disable=SC2086  # options are words
    held=$(skopeo inspect --raw $looking -- "docker://$1" 2>/dev/null </dev/null | sha256sum | cut -d ' ' -f 1)
    # Nothing at all came where there is no such tag.
    test "$held" != "${2#sha256:}" && test "$held" != e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
}

# --- apply: operator, namespace, then the feature store ---------------------------------------------------------------

# Manifests name the registry that the bundle was built for; a copy of them names the one given.
relocate() { # REGISTRY
    work=$(mktemp -d)
    cp -R manifests "$work/manifests"
    built_for=$(sed -n '1s/^# //p' images.txt)
    case $built_for in
    '' | *[!][A-Za-z0-9._:/-]*) fail 6 "images.txt does not begin with a registry: do not use this bundle, get it again" ;;
    esac
    test "$built_for" = "$1" && return
    say "relocating the manifests from $built_for to $1"
    find manifests -name '*.yaml' | while read -r file; do
        OLD="$built_for/" NEW="$1/" LC_ALL=C awk '
            BEGIN { old = ENVIRON["OLD"]; new = ENVIRON["NEW"] }
            {
                done = ""
                while ((place = index($0, old)) > 0) {
                    done = done substr($0, 1, place - 1) new
                    $0 = substr($0, place + length(old))
                }
                print done $0
            }' "$file" >"$work/$file"
    done
}

on_cluster() { # ARGUMENT...
    # shellcheck disable=SC2086  # KUBECTL may hold options
    { $kubectl "$@" 2>&1 || : >"$work/failed"; } | shown
    test ! -e "$work/failed" || fail 8 "$kubectl $* failed"
}

apply() { # REGISTRY
    need "${kubectl%% *}" mktemp awk find sort
    plain_names
    trusted
    relocate "$1"
    # Without a home kubectl would keep its cache here, beside files that are all listed.
    export HOME="${HOME:-$work}"
    manifests=$work/manifests
    # Servers before 1.25 leave it to kubectl to check objects, which misses fields there that have a default.
    checked=true
    # shellcheck disable=SC2086
    case $($kubectl get --raw /version 2>/dev/null | sed -n 's/.*"gitVersion": *"v1\.\([0-9]*\).*/\1/p') in
    1? | 2[0-4]) checked=false ;;
    esac
    if test -f "$manifests/operator/install.yaml"; then
        # Too large for client-side apply, which would keep a second copy in an annotation.
        on_cluster apply --server-side --force-conflicts -k "$manifests/operator"
        on_cluster wait --for=condition=Established --timeout="$timeout" crd/featurestores.feast.dev
        on_cluster -n feast-operator-system rollout status --timeout="$timeout" deploy/feast-operator-controller-manager
    fi
    on_cluster apply --server-side -f "$manifests/namespace.yaml"
    find "$manifests" -name serviceaccounts.yaml -exec awk '
        /^[^ -]/ { listed = /^imagePullSecrets:/ }
        /^  namespace: / { namespace = $2 }
        listed && /- name: / { print namespace, $3 }' {} + | sort -u >"$work/imagePullSecrets"
    each_line "$work/imagePullSecrets" "$label $label(\.$label)*"
    while read -r namespace name; do
        # shellcheck disable=SC2086
        $kubectl -n "$namespace" get secret -o name -- "$name" >/dev/null 2>&1 </dev/null ||
            say "not there: $kubectl -n $namespace create secret docker-registry $name --docker-server=..."
    done <"$work/imagePullSecrets" 2>"$work/lacking"
    # A bundle of several feature stores has a folder for each.
    find "$manifests" -path "$manifests/secrets/*" -name '*.yaml' | sort | while read -r file; do
        # shellcheck disable=SC2086
        $kubectl get -f "$file" -o name >/dev/null 2>&1 ||
            say "not there: copy $here/${file#"$work/"}, fill in its values, and: $kubectl apply -f COPY"
    done 2>>"$work/lacking"
    if test -s "$work/lacking"; then
        cat "$work/lacking" >&2
        fail 8 "Secrets are not there yet, so no feature store was applied: create them as said above, then run this again"
    fi
    on_cluster apply --server-side --validate=$checked -k "$manifests"
    find "$manifests" -name featurestore.yaml | sort | while read -r file; do
        on_cluster wait --for=jsonpath='{.status.phase}'=Ready --timeout="$timeout" -f "$file"
    done
    say "every feature store is ready"
}

usage() {
    sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' install.sh
    exit "$1"
}

command=${1:-}
case $command in
-h | --help) usage 0 ;;
verify) test $# -eq 1 || usage 2 >&2 ;;
push | apply | all) if test $# -ne 2 || test -z "$2"; then usage 2 >&2; fi ;;
*) usage 2 >&2 ;;
esac
registry=${2:-}
case $registry in
*://* | */ | /* | *[!A-Za-z0-9._:/-]*) fail 2 "$registry is not a registry: write HOST[:PORT][/PREFIX]" ;;
esac
case $command in
verify) verify ;;
push) push "$registry" || exit ;;
apply) apply "$registry" ;;
all)
    verify
    pushed=0
    push "$registry" || pushed=$?
    case $pushed in
    0 | 9) apply "$registry" ;;
    esac
    exit "$pushed"
    ;;
esac
