# The wheel of `make build`, what it stands on by hash, and nothing else: make build && docker build .
FROM python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS build

# The environment is made where it will stand: its scripts have that path in them.
RUN python -m venv /opt/twelvefold
WORKDIR /build
COPY requirements-runtime.txt ./
RUN /opt/twelvefold/bin/pip install --no-cache-dir --require-hashes -r requirements-runtime.txt
COPY dist/twelvefold-*-py3-none-any.whl ./
RUN /opt/twelvefold/bin/pip install --no-cache-dir --no-index --no-deps twelvefold-*-py3-none-any.whl \
 && /opt/twelvefold/bin/python -m compileall -q /opt/twelvefold/lib

FROM python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285

LABEL org.opencontainers.image.title="Twelvefold" \
      org.opencontainers.image.description="Agentic workflows as twelve-factor processes on MySQL" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/twelvefold /opt/twelvefold

# Nothing is written anywhere: run it with --read-only. What is compiled is there already.
ENV PATH=/opt/twelvefold/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000
USER 65532:65532
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
# `worker` listens nowhere: start it with --no-healthcheck. Asked past any proxy; whose certificate it is does not matter here.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["python", "-c", "import os, ssl, urllib.request as r; r.build_opener(r.ProxyHandler({}), r.HTTPSHandler(context=ssl._create_unverified_context())).open(('https' if os.environ.get('TLS_CERT') else 'http') + '://127.0.0.1:' + os.environ['PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["twelvefold"]
CMD ["web"]
