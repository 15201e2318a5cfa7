#!/usr/bin/env bash
# Builds the graph engine once per machine as a shared library and links it at .engine, where .cargo/config.toml points.
# The crate's static mode cannot be linked next to lancedb (duplicate ZSTD symbols), and its C++ takes ten to twenty
# minutes, so the library lives in a cache outside the checkout, named by engine version and compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^kuzu *=.*version *= *"=\([0-9.]*\)".*/\1/p' Cargo.toml)
compiler=clang-19-libc++
cache=${SLIPSTREAM_CACHE:-$HOME/.cache/slipstream}/engine-$version-$compiler

build() {
  local source work
  cargo fetch --locked --quiet
  source=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/lbug-"$version"/lbug-src | head -n 1)
  work=$cache.building
  echo "building the graph engine $version in $work: 10 to 20 minutes on two cores, once per machine" >&2
  mkdir -p "$work"
  # -DNDEBUG comes with Release; -w because the engine's warnings are not ours to fix.
  cmake -S "$source" -B "$work/cmake" -G Ninja -DCMAKE_PROJECT_Lbug_INCLUDE="$PWD/build/engine.cmake" \
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHELL=OFF -DBUILD_SINGLE_FILE_HEADER=ON \
    -DAUTO_UPDATE_GRAMMAR=OFF -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 \
    -DCMAKE_CXX_FLAGS="-stdlib=libc++ -fPIC -w" -DCMAKE_C_FLAGS="-fPIC -w" \
    -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache >"$work/configure.log"
  cmake --build "$work/cmake" -j "${SLIPSTREAM_JOBS:-$(nproc)}" >"$work/build.log" ||
    { tail -n 40 "$work/build.log" >&2; exit 1; }
  mkdir -p "$work/out"
  cp -a "$work"/cmake/src/liblbug.so* "$work/out/"
  cp "$work/cmake/src/lbug.hpp" "$source"/src/include/c_api/*.h "$work/out/"
  rm -rf "$cache" && mv "$work/out" "$cache" && rm -rf "$work"
}

mkdir -p "$(dirname "$cache")"
exec 9>"$cache.lock" && flock 9 # two checkouts may start at once
[ -e "$cache/liblbug.so" ] || build
ln -sfn "$cache" .engine
