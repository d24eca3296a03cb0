# tailfit on CPUs with JAX: builds from this repository, and runs as a user without rights.
#
#   docker build -t tailfit .
#   docker run --rm -v "$PWD:/work" -u "$(id -u)" tailfit train plant.yaml
#   docker run --rm tailfit                                   # the demo
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src src
COPY examples/demo.py examples/demo.py
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
COPY requirements/demo.txt /tmp/demo.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir -r /tmp/demo.txt /wheels/*.whl \
    && rm -r /wheels /tmp/demo.txt \
    && useradd --create-home tailfit \
    && install -d -o tailfit -g tailfit -m 777 /work
ENV KERAS_BACKEND=jax KERAS_HOME=/tmp/keras PYTHONDONTWRITEBYTECODE=1
USER tailfit
WORKDIR /work
ENTRYPOINT ["tailfit"]
CMD ["demo"]
