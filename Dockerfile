# Two images from one build: `--target sidecar` (writer and replicas) and `--target operator`.
# Without a registry at hand, name local images: --build-arg BUILD_BASE=… (Debian 12 or newer with Rust 1.94 or newer, git
# and g++) and --build-arg RUNTIME_BASE=… (the same release). The engine and the dependencies live in a cache mount.
# Binaries built elsewhere, for the same release, take the place of the build stage: --build-context build=DIR with
# DIR/out/bin and DIR/out/lib as the stage would leave them. build/images.sh does all of it on a machine without a registry.
ARG BUILD_BASE=docker.io/library/rust:1.95-trixie
ARG RUNTIME_BASE=docker.io/library/debian:trixie-slim

FROM ${BUILD_BASE} AS build
WORKDIR /src
COPY build/packages build/packages
RUN apt-get update \
 && awk '!/^#/ && NF {print $2}' build/packages | xargs apt-get install -y --no-install-recommends \
 && rm -rf /var/lib/apt/lists/*
COPY . .
# The whole workspace, as everywhere: other packages alone would be other features of what they share, and compile it again.
RUN --mount=type=cache,target=/cache,sharing=locked \
    export SLIPSTREAM_CACHE=/cache CCACHE_DIR=/cache/ccache CARGO_TARGET_DIR=/cache/target \
 && build/engine.sh \
 && cargo build --release --locked --workspace \
 && strip -o /cache/slipstream /cache/target/release/slipstream \
 && strip -o /cache/slipstream-operator /cache/target/release/slipstream-operator \
 && install -D -t /out/bin /cache/slipstream /cache/slipstream-operator \
 && mkdir -p /out/lib && cp -a .engine/liblbug.so* /out/lib/

FROM ${RUNTIME_BASE} AS runtime
RUN dpkg -s ca-certificates >/dev/null 2>&1 \
 || { apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*; }

FROM runtime AS operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/slipstream-operator"]
COPY --from=build /out/bin/slipstream-operator /usr/local/bin/

FROM runtime AS sidecar
# What the engine's library needs. openssl: for its library, whose package name differs between releases.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libatomic1 libc++1-19 libc++abi1-19 openssl \
 && rm -rf /var/lib/apt/lists/*
# Lance's scans of deltas hold 16 MiB of the storage's answers, and not 2 GiB. `slipstream local` sets the same for its children
# (sidecar/src/local/process.rs).
ENV LANCE_DEFAULT_BATCH_SIZE=8192 LANCE_DEFAULT_IO_BUFFER_SIZE=16777216
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/slipstream"]
# The binary looks for the engine in ../lib, next to its own directory.
COPY --from=build /out/lib/ /usr/local/lib/
COPY --from=build /out/bin/slipstream /usr/local/bin/
