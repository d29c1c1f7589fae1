# One image for the paper exchange and the three services; the command says which one runs.
# BASE_IMAGE: any image with Python 3.11+ as python3 and its venv module.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /build
RUN python3 -m venv /opt/otopilot
COPY requirements.lock ./
RUN /opt/otopilot/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY otopilot otopilot
COPY market_service market_service
COPY order_service order_service
COPY strategy_service strategy_service
COPY paper_exchange paper_exchange
RUN /opt/otopilot/bin/python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. protos/*.proto \
    && /opt/otopilot/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM ${BASE_IMAGE}
RUN useradd --system --uid 10001 --home-dir /var/lib/otopilot --create-home otopilot
COPY --from=build /opt/otopilot /opt/otopilot
COPY config /etc/otopilot/config
ENV PATH=/opt/otopilot/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /etc/otopilot
USER otopilot
VOLUME /var/lib/otopilot
CMD ["otopilot", "--help"]
