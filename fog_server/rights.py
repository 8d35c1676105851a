"""Which right each method of the server needs."""

from collections.abc import Mapping
from types import MappingProxyType

from headtail.allow_list import Right
from headtail.server.authorization import Rules

_DATA, _CONTROL = "/inference.GRPCInferenceService/", "/headtail.v1.Control/"
_ROLLOUTS, _CAPTURE = "/headtail.v1.Rollouts/", "/headtail.v1.Capture/"
_ANY = frozenset(Right)
RIGHTS: Mapping[str, frozenset[Right]] = MappingProxyType(
    {
        f"{_DATA}ServerLive": _ANY,
        f"{_DATA}ServerReady": _ANY,
        f"{_DATA}ServerMetadata": _ANY,
        f"{_DATA}ModelReady": _ANY,
        f"{_DATA}ModelMetadata": _ANY,
        f"{_DATA}ModelConfig": _ANY,
        f"{_DATA}ModelStatistics": _ANY,
        f"{_DATA}RepositoryIndex": _ANY,
        f"{_DATA}RepositoryModelLoad": frozenset({Right.ADMINISTER}),
        f"{_DATA}RepositoryModelUnload": frozenset({Right.ADMINISTER}),
        f"{_DATA}ModelInfer": frozenset({Right.INFER}),
        f"{_DATA}ModelStreamInfer": frozenset({Right.INFER}),
        # An agent that infers compares digests before it does.
        f"{_CONTROL}ListBundles": frozenset({Right.INFER, Right.FETCH}),
        f"{_CONTROL}FetchBundle": frozenset({Right.FETCH}),
        f"{_CONTROL}WatchDirectives": frozenset({Right.INFER, Right.FETCH}),
        f"{_CONTROL}ReportStatus": frozenset({Right.INFER, Right.FETCH}),
        f"{_CAPTURE}CaptureWindows": frozenset({Right.INFER}),
        # A candidate is run by nobody: whoever builds bundles need not decide over the fleet.
        f"{_ROLLOUTS}PublishBundle": frozenset({Right.PUBLISH, Right.ADMINISTER}),
        f"{_ROLLOUTS}ListRollouts": frozenset({Right.PUBLISH, Right.ADMINISTER}),
        f"{_ROLLOUTS}StartCanary": frozenset({Right.ADMINISTER}),
        f"{_ROLLOUTS}SetCanaryShare": frozenset({Right.ADMINISTER}),
        f"{_ROLLOUTS}Promote": frozenset({Right.ADMINISTER}),
        f"{_ROLLOUTS}RollBack": frozenset({Right.ADMINISTER}),
        f"{_ROLLOUTS}Retire": frozenset({Right.ADMINISTER}),
        "/grpc.health.v1.Health/Check": _ANY,
        "/grpc.health.v1.Health/List": _ANY,
        "/grpc.health.v1.Health/Watch": _ANY,
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ANY,
    }
)
"""Rights by method; one of them is enough. A method that is not here is the administrators'."""
RULES = Rules("fog", RIGHTS, local_method=f"{_DATA}ServerLive")
