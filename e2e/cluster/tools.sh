#!/usr/bin/env bash
# Builds the programs of the test cluster from the Go modules beside this file, once per machine: each module's programs
# go to a directory named by the hash of its sources, and bin/ links to the newest of each. A module without a program of its
# own names those of others as tools.
# usage: tools.sh [MODULE…]   (none: all of them)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SLIPSTREAM_CACHE:-$HOME/.cache/slipstream}/tools
version=v1.34.2 # as in go.mod; the programs tell it to each other
stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"
toolchain=go1.26.0 # what Go older than 1.21, which cannot fetch a newer one by itself, is replaced by

# Debian 12 has Go 1.19. Toolchains are published as a Go module, which it can download.
recent_go() {
  local minor arch root
  minor=$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')
  [ "$minor" -ge 21 ] && return
  arch=$(go env GOARCH)
  root=$(cd "$(mktemp -d)" && go mod download -json "golang.org/toolchain@v0.0.1-$toolchain.linux-$arch" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  chmod -R u+w "$root" && chmod -R a+x "$root/bin" "$root/pkg/tool"
  export PATH="$root/bin:$PATH" GOROOT=$root
}

programs() { if [ -e main.go ]; then echo .; else go list -f '{{ .ImportPath }}' tool; fi; }

build() {
  local module=$1 source=$here hash out program
  [ "$module" = kubernetes ] || source=$here/$module
  hash=$(find "$source" -maxdepth 1 -name go.mod -o -maxdepth 1 -name go.sum -o -maxdepth 1 -name '*.go' | sort | xargs cat | sha256sum | cut -c1-16)
  out=$cache/$module-$hash
  exec 9>"$cache/$module.lock" && flock 9 # two checkouts may start at once
  if [ ! -e "$out/complete" ]; then
    echo "tools.sh: building $module, once per machine (minutes)" >&2
    mkdir -p "$out"
    # Built from the pinned sums, whatever GOFLAGS the machine has. GOGC: the compiler collects less often (a sixth less processor time for
    # net/http and below), and takes more memory.
    (cd "$source" && recent_go && programs | GOFLAGS=-mod=readonly CGO_ENABLED=0 GOGC=400 xargs go build -trimpath -ldflags "-s -w $stamp" -o "$out/")
    touch "$out/complete"
  fi
  for program in "$out"/*; do
    [ "$program" = "$out/complete" ] || ln -sfn "../$module-$hash/$(basename "$program")" "$cache/bin/$(basename "$program")"
  done
}

mkdir -p "$cache/bin"
# The ones that the tests want come first.
[ $# -gt 0 ] || set -- versitygw helm coredns kubernetes
for module in "$@"; do build "$module"; done
