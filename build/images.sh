#!/usr/bin/env bash
# Builds both images from the Dockerfile as it is, build stage included, on a machine without a registry: the bases are made of
# Debian's packages for this machine's release and of its Rust toolchain. The first time takes as long as compiling the
# engine and every dependency optimized, about an hour and a quarter on two cores; buildah's cache mount keeps both.
# usage: images.sh [TAG]   (root; images slipstream:TAG and slipstream-operator:TAG, archives beside them)
set -euo pipefail
cd "$(dirname "$0")/.."

tag=${1:-release}
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
build_base=localhost/slipstream-build-base:$suite-rust-$(rustc --version | cut -d' ' -f2)
runtime_base=localhost/slipstream-runtime-base:$suite
home=${SLIPSTREAM_CACHE:-$HOME/.cache/slipstream}/release-images
authorities=/etc/ssl/certs/ca-certificates.crt # those of this machine's network, too
mkdir -p "$home/tmp"
# Cache mounts lie below TMPDIR. Neither a daemon nor namespaces nor a file system with layers are needed.
export TMPDIR=$home/tmp STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

buildah() { command buildah --root "$home/storage" --runroot "$home/run" "$@"; }

# A base image of Debian packages; further arguments are a command that adds to it, given the container.
base() {
  local image=$1 packages=$2 container
  shift 2
  buildah inspect --type image "$image" >/dev/null 2>&1 && return
  echo "images.sh: making $image" >&2
  mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$home/tmp/base.tar"
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$home/tmp/base.tar" / >&2
  rm "$home/tmp/base.tar"
  "$@" "$container"
  buildah commit --quiet --rm "$container" "$image" >&2
}

# What the toolchain has besides compilers and libraries is a gigabyte of manuals.
add_toolchain() {
  local sysroot
  sysroot=$(rustc --print sysroot)
  buildah copy --quiet "$1" "$sysroot/bin" /usr/local/rust/bin >&2
  buildah copy --quiet "$1" "$sysroot/lib" /usr/local/rust/lib >&2
  buildah config --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$1"
}

base "$build_base" ca-certificates,git,g++ add_toolchain
base "$runtime_base" ca-certificates true

for target in sidecar operator; do
  image=localhost/slipstream:$tag
  [ "$target" = sidecar ] || image=localhost/slipstream-operator:$tag
  echo "images.sh: building $image" >&2
  buildah bud --layers --pull-never --target "$target" --tag "$image" \
    --build-arg "BUILD_BASE=$build_base" \
    --build-arg "RUNTIME_BASE=$runtime_base" \
    --volume "$authorities:$authorities:ro" --file Dockerfile .
  rm -f "$home/$target-$tag.tar"
  buildah push --quiet "$image" "docker-archive:$home/$target-$tag.tar:$image" >&2
  du -h "$home/$target-$tag.tar"
done
