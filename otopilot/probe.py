"""`python -m otopilot.probe HOST:PORT`: exit 0 when the gRPC service there says SERVING.

For health checks of containers, which have no other client inside.
"""

import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def serving(target: str, timeout_seconds: float = 3.0) -> bool:
    """Does the service at the target say that it can do its work?"""
    with grpc.insecure_channel(target) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if len(sys.argv) == 2 and serving(sys.argv[1]) else 1)
