"""Which right each method of the job service needs."""

from types import MappingProxyType

from headtail.allow_list import Right
from headtail.server.authorization import Rules
from optimizer.serve.status import WHERE

_JOBS = "/headtail.v1.Jobs/"
_ANY = frozenset(Right)
# A job makes a bundle that is signed, and its log and recipe tell of the data.
_OPERATE = frozenset({Right.PUBLISH, Right.ADMINISTER})
RULES = Rules(
    WHERE,
    MappingProxyType(
        {
            f"{_JOBS}SubmitJob": _OPERATE,
            f"{_JOBS}ListJobs": _OPERATE,
            f"{_JOBS}GetJob": _OPERATE,
            f"{_JOBS}WatchJob": _OPERATE,
            f"{_JOBS}CancelJob": _OPERATE,
            f"{_JOBS}ReadJobLog": _OPERATE,
            f"{_JOBS}FetchJobFile": _OPERATE,
            "/grpc.health.v1.Health/Check": _ANY,
            "/grpc.health.v1.Health/List": _ANY,
            "/grpc.health.v1.Health/Watch": _ANY,
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ANY,
        }
    ),
)
