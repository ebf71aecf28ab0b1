# One image for the service, the bridge, training and the MLflow server: what differs is the
# command. All packages are those of requirements.txt, with hashes, so client and server of MLflow
# are of one release. The tag is a version; pin its digest where you build.
FROM python:3.11.14-slim-trixie AS packages
COPY requirements.txt /tmp/requirements.txt
# Wheels only: nothing is compiled, and no compiler or pip comes along into the final image.
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
      --only-binary :all: --require-hashes --requirement /tmp/requirements.txt

FROM python:3.11.14-slim-trixie
RUN groupadd --gid 10001 ctr \
 && useradd --uid 10001 --gid ctr --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ctr \
 && install --directory --owner=ctr --group=ctr /models /var/lib/ctr /mlartifacts
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
# Belongs to root and cannot be changed by the service.
COPY experiment.toml ./
COPY scripts/run_api.py scripts/train_models.py scripts/test_monitoring.py ./scripts/
COPY service ./service
COPY bridge ./bridge
# What the page at / says to do when an alert fires.
COPY docs/runbooks ./docs/runbooks
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    CTR_HOST=0.0.0.0 \
    CTR_PORT=8000 \
    CTR_STATE_DIR=/var/lib/ctr \
    CTR_MODELS_DIR=/models \
    CTR_LOG_FORMAT=json
USER 10001:10001
EXPOSE 8000
# As Ctrl-C: requests that are being answered are finished, then the status is 0.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['CTR_PORT']}/readyz\", timeout=4)"]
CMD ["python", "scripts/run_api.py"]
