# syntax=docker/dockerfile:1

# A static binary on an empty root. config/build/image.sh does the work, here and outside of Docker.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    config/build/image.sh /image

FROM scratch
COPY --from=build /image/usr /usr
COPY --from=build /image/etc /etc
# A config file is optional and goes to /config/tollgate.toml.
COPY --from=build /image/config /config
COPY --from=build --chown=65532:65532 /image/data /data

# No key is in the image: name them at start, as in -e OPENAI_API_KEY.
ENV TOLLGATE_SERVER__LISTEN=0.0.0.0:4000 \
    TOLLGATE_STORE__PATH=/data
WORKDIR /
USER 65532:65532
VOLUME /data
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/bin/tollgate", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tollgate"]
CMD ["serve"]
