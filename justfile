# Recipes of this project; ./justw runs them on a machine that has nothing yet.
# One dev build serves demo, tests and generators: every dev call builds the whole workspace with the same features, because
# cargo would compile shared dependencies (half an hour) again for another selection.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

export CARGO_TARGET_DIR := env_var_or_default("CARGO_TARGET_DIR", env_var("HOME") + "/.cache/slipstream/target")
# Clippy compiles what is ours in every dev build: an own pass would check half an hour's worth of dependencies once more.
export RUSTC_WORKSPACE_WRAPPER := "clippy-driver"
export CLIPPY_ARGS := "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__"
features := "--features slipstream-sidecar/failpoints"
# the protocol as a model is a cargo workspace of its own (model/src/lib.rs says why)
model := "--locked --manifest-path model/Cargo.toml --target-dir '" + CARGO_TARGET_DIR + "/model'"
debug := CARGO_TARGET_DIR + "/debug"
release := CARGO_TARGET_DIR + "/release"
crd := "charts/slipstream/templates/crd-replicatedgraphdb.yaml"
generated := CARGO_TARGET_DIR + "/crd.yaml"

# list the recipes
default:
    @just --justfile "{{ justfile() }}" --list --unsorted

# install every package that the other recipes need, and nothing else
packages:

# build everything (dev profile, with crash points); warnings of rustc and clippy are errors, as in every recipe that builds
build: engine
    cargo build --locked --workspace {{ features }}

# build the graph engine's shared library, once per machine
engine:
    build/engine.sh

# build the programs that tests and the cluster run, once per machine: an S3 server, Helm, Kubernetes, CoreDNS
tools *modules:
    e2e/cluster/tools.sh "$@"

# check formatting, then run every test; arguments go to cargo test
test *args: _formatted build (tools "versitygw" "helm")
    cargo test --locked --workspace {{ features }} "$@"
    cargo test {{ model }}

# clippy on everything, tests included
lint: engine
    cargo build --locked --workspace --all-targets {{ features }}
    cargo build {{ model }} --all-targets

# before the build, because it takes a second
_formatted:
    cargo fmt --all --check
    cargo fmt --manifest-path model/Cargo.toml --check

# format the Rust sources
fmt:
    cargo fmt --all
    cargo fmt --manifest-path model/Cargo.toml

# one writer and two replicas on the Debian package index; --keep leaves them running, --servers uses real S3 and NATS servers
demo *args: build
    case " $* " in *" --servers "*) e2e/cluster/tools.sh versitygw ;; esac
    "{{ debug }}/demo" "$@"

# a real single-node Kubernetes in a network namespace: up, down, status, kubectl …
cluster *args: build tools
    "{{ debug }}/cluster" "$@"

# every scenario on that cluster, with the real chart, images, S3 server and NATS; --list names them, --only picks
e2e *args: build tools
    "{{ debug }}/e2e" "$@"

# kill, stop and starve real processes and compare with a model: --small, --only matrix,kills,…, --seed N, --runs N, --minutes N
torture *args: build (tools "versitygw")
    "{{ debug }}/torture" "$@"

# the torture's soak on a release build with crash points, which compiles every dependency once more: nothing beside it, half an hour
soak *args: engine
    env -u RUSTC_WORKSPACE_WRAPPER cargo build --release --locked --workspace {{ features }}
    "{{ release }}/torture" --only soak "$@"

# both images from the Dockerfile, its build stage included, on local bases: as root, without a registry
images *args:
    build/images.sh "$@"

# measure the figures of docs/benchmarks.md with a release build, as the images have it: its own compile of every dependency
bench *args: engine
    env -u RUSTC_WORKSPACE_WRAPPER cargo build --release --locked --workspace
    "{{ release }}/bench" "$@"

# write the CRD into the chart
crds: build
    "{{ debug }}/crdgen" > "{{ generated }}"
    test -s "{{ generated }}"
    mkdir -p "$(dirname {{ crd }})"
    cp "{{ generated }}" {{ crd }}

# fail if the CRD in the chart is not what the types generate
check-generated: build
    "{{ debug }}/crdgen" > "{{ generated }}"
    diff -u {{ crd }} "{{ generated }}" || { echo "{{ crd }} is not what the types generate: run ./justw crds" >&2; exit 1; }

# remove what `slipstream local` and the demo keep in this checkout (stop them first)
clean-state:
    rm -rf .slipstream
