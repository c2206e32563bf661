# Images of Causeway; docs/docker.md says how they are built and run.
#
#   docker build -t causeway .                                      the daemon
#   docker build -t causeway:embedded --target causeway-embedded .  with nats-server, for `nats.embedded`
#
# test/integration/image.test.ts runs the steps below on a machine without Docker. Hence RUN only in stages that build, on
# relative paths; images that run are put together by COPY alone and need no shell.

ARG NODE_IMAGE=docker.io/library/node:26.11.1-trixie-slim
ARG NATS_IMAGE=docker.io/library/nats:2.15.0

# What is compiled is the same on every platform, and no package has native parts: nothing here needs emulation.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json ./
# Behind a registry of your own: `docker build --secret id=npmrc,src=$HOME/.npmrc`. It is there for this step only.
RUN --mount=type=secret,id=npmrc,target=/build/.npmrc \
    npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src/ src/
RUN npm run build && rm dist/.tsbuildinfo && mkdir empty

FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS dependencies
WORKDIR /build
COPY package.json package-lock.json ./
RUN --mount=type=secret,id=npmrc,target=/build/.npmrc \
    npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${NATS_IMAGE} AS nats-server

# ---------------------------------------------------------------------------------------------------------- the daemon
FROM ${NODE_IMAGE} AS daemon
ENV NODE_ENV=production
WORKDIR /app
# Readable for any user, whatever the umask of the one who builds.
COPY --chmod=644 LICENSE package.json deploy/docker/healthcheck.mjs ./
COPY --from=dependencies /build/node_modules/ node_modules/
COPY --from=build /build/dist/ dist/
# A number, so that Kubernetes can see that it is not root; any other user will do as well.
USER 65532:65532
# Peers dial the first, where the topology file listens; the second is the default of `monitor`.
EXPOSE 7443 7444
# Node.js answers SIGTERM as the first process of a container too: it drains, and ends with 0.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["node", "/app/healthcheck.mjs"]
ENTRYPOINT ["node", "/app/dist/main.js"]
CMD ["run"]
# At the end, so that another revision with the same contents has the same layers.
ARG NODE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Causeway" \
      org.opencontainers.image.description="Carries messages between NATS clusters along declared links: in order, exactly once." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${NODE_IMAGE}"

# -------------------------------------------------------------------------------- with nats-server, for `nats.embedded`
FROM daemon AS causeway-embedded
LABEL org.opencontainers.image.title="Causeway with nats-server"
COPY --from=nats-server /nats-server /usr/local/bin/nats-server
# The place of the store: an empty folder of the daemon's user, which a new volume takes over.
COPY --from=build --chown=65532:65532 /build/empty/ /var/lib/causeway/

# -------------------------------------------------------------------------- the last one is what `docker build .` makes
FROM daemon AS causeway
