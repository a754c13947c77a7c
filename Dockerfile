# syntax=docker/dockerfile:1
# One image for the API, the workers, the scheduler and the migration; the command decides.
# A release names it by digest.
ARG BASE=python:3.13-slim
FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /beat
WORKDIR /source
# The locked dependencies are a layer of their own: a change of the code does not install them again.
COPY requirements.image.lock ./
RUN /beat/bin/pip install --no-deps --require-hashes --only-binary :all: -r requirements.image.lock
COPY . .
# Built outside of the environment that is shipped: the build backend, locked as well, stays behind.
RUN awk '/^[a-z]/ { on = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/ } on' requirements.lock > build.txt \
    && pip install --no-deps --require-hashes -r build.txt \
    && pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /beat/bin/pip install --no-deps --no-index /wheels/*.whl

FROM ${BASE}
# A volume that is mounted at a directory of the image gets its owner.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin beat && install -d -o beat -g beat -m 0700 /var/spool/beat
COPY --from=build /beat /beat
ENV PATH=/beat/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001
STOPSIGNAL SIGTERM
CMD ["beat", "--help"]
