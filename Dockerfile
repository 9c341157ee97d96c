# syntax=docker/dockerfile:1
# Checked by reading only: the machine that it was written on has no Docker daemon. Tags are pinned; pin digests where you mirror images.
#
#   docker build -t boxwright .
#   docker run --rm boxwright --help

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The cache mounts keep crates and artifacts between builds, so the program is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package boxwright && \
    cp target/release/boxwright /boxwright

FROM debian:bookworm-slim
RUN groupadd --gid 10001 boxwright && \
    useradd --uid 10001 --gid boxwright --home-dir /data --no-create-home --shell /usr/sbin/nologin boxwright && \
    install --directory --owner boxwright --group boxwright /data
# Certificates for object stores over TLS; nothing else is needed beside libc.
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /boxwright /usr/local/bin/boxwright
USER boxwright
WORKDIR /data
# The first SIGTERM finishes what is complete; an incomplete clip is read again by the next run. Give it time (stop_grace_period).
STOPSIGNAL SIGTERM
ENTRYPOINT ["boxwright"]
CMD ["--help"]
