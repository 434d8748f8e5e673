# The images of the service (target `service`, the default) and of its load test (target `loadtest`); `make image` makes both.
# Nothing here needs BuildKit: Docker's old builder does it, too. What is in them: docs/OPERATIONS.md, Containers.

# As old a libc as that of the images below.
FROM docker.io/library/rust:1.95-slim-bookworm AS build
WORKDIR /build

# The dependencies, in a layer of their own: it stays until a manifest changes. The manifest names the benches, so that cargo asks
# for their files. What stands in for the sources is cleaned away, since cargo would take it for the sources by its time.
COPY Cargo.toml Cargo.lock ./
COPY loadtest/Cargo.toml loadtest/
COPY benches benches
RUN mkdir -p src loadtest/src \
    && echo 'fn main() {}' >src/main.rs \
    && echo '//! Nothing yet.' >src/lib.rs \
    && cp src/main.rs loadtest/src/ \
    && cargo build --release --locked --workspace \
    && cargo clean --release --locked -p dgm-service -p dgm-loadtest

COPY build.rs ./
COPY migrations migrations
COPY alerts/runbooks alerts/runbooks
COPY loadtest/src loadtest/src
COPY src src
# build.rs puts it into the program: the build has no git.
ARG DGM_REVISION=unknown
# Names of functions stay in the programs, for backtraces and profilers; the rest of what debuggers want is three quarters of them.
RUN cargo build --release --locked --workspace \
    && mkdir -p /out/bin /out/empty \
    && strip --strip-debug -o /out/bin/dgm target/release/dgm \
    && strip --strip-debug -o /out/bin/dgm-loadtest target/release/dgm-loadtest

# libc, libgcc, the certificates of authorities, an account without rights; no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot AS base
# By number: Kubernetes can prove of no name that it is not root.
USER 65532:65532
STOPSIGNAL SIGTERM

FROM base AS loadtest
COPY --from=build --chown=65532:65532 /out/empty /report
COPY --from=build /out/bin/dgm-loadtest /usr/local/bin/dgm-loadtest
VOLUME ["/report"]
# It ends by itself; its exit code is its verdict.
HEALTHCHECK NONE
ENTRYPOINT ["/usr/local/bin/dgm-loadtest"]
CMD ["--help"]
ARG DGM_REVISION=unknown
ARG DGM_VERSION=0.1.0
ARG DGM_SOURCE
LABEL org.opencontainers.image.title="dgm-loadtest" \
      org.opencontainers.image.description="Load test of the dgm-service HTTP contract" \
      org.opencontainers.image.version="${DGM_VERSION}" \
      org.opencontainers.image.revision="${DGM_REVISION}" \
      org.opencontainers.image.source="${DGM_SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM base AS service
# A volume takes its owner over from the folder that it is mounted on.
COPY --from=build --chown=65532:65532 /out/empty /var/log/dgm
COPY --from=build --chown=65532:65532 /out/empty /var/lib/dgm
COPY --from=build /out/bin/dgm /usr/local/bin/dgm
# Log files (telemetry.log_dir), and what is kept as files: exported months (samples.export_url), files of entries (artifacts.url).
VOLUME ["/var/log/dgm", "/var/lib/dgm"]
# The API, and the operations listener, which is nobody else's business.
EXPOSE 8007 9007
HEALTHCHECK --interval=10s --timeout=10s --start-period=10s --retries=3 CMD ["/usr/local/bin/dgm", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/dgm"]
CMD ["serve"]
# Last: a new revision makes these anew and nothing else.
ARG DGM_REVISION=unknown
ARG DGM_VERSION=0.1.0
ARG DGM_SOURCE
LABEL org.opencontainers.image.title="dgm-service" \
      org.opencontainers.image.description="Archive, improvement queue and performance metrics for self-improving agent loops" \
      org.opencontainers.image.version="${DGM_VERSION}" \
      org.opencontainers.image.revision="${DGM_REVISION}" \
      org.opencontainers.image.source="${DGM_SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
