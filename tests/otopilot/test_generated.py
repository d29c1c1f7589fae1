"""The generated code is of the gRPC version that runs it: a mixed set fails at import (architecture 10)."""

import importlib
from importlib.metadata import version

import pytest

GRPC = ["grpcio", "grpcio-health-checking", "grpcio-reflection", "grpcio-status"]


@pytest.mark.parametrize("contract", ["market", "order", "strategy"])
def test_stubs_were_generated_by_the_installed_version(contract: str) -> None:
    stubs = importlib.import_module(f"protos.{contract}_pb2_grpc")
    assert version("grpcio") == stubs.GRPC_GENERATED_VERSION


@pytest.mark.parametrize("package", GRPC)
def test_all_of_grpc_is_of_one_version(package: str) -> None:
    assert version(package) == version("grpcio")
