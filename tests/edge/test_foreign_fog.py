"""What an agent may ask of a fog that is not ours, told by what such a fog says."""

import grpc
import numpy as np
import pytest

from edge_agent.foreign_fog import Served, find_foreign, version_field
from edge_agent.tail import Tail
from headtail.errors import ModelNotFound, RequestInvalid
from headtail.inference import grpc_service_pb2 as oip
from headtail.inference import model_config_pb2 as config
from headtail.oip import RAW_INPUT_FIELD, InferWriter, read_request
from headtail.tensor import TensorSpec

DIGEST = "d" * 64
TAIL = Tail("m-tail2-int8", "1.10.0", (), "m", DIGEST)
INTEGER = "100100000"


class Refused(grpc.RpcError):
    """A call that ends with a status."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        """Return the status."""
        return self._code


class ForeignFog:
    """A server that answers with what it was given; a status instead of an answer ends the call."""

    def __init__(self, versions, digest=None, ready=grpc.StatusCode.UNIMPLEMENTED) -> None:
        self.metadata = oip.ModelMetadataResponse(versions=versions)
        self.config = digest
        if not isinstance(digest, grpc.StatusCode):
            named = f"headtail_digest_{INTEGER}"
            parameters = {named: config.ModelParameter(string_value=digest)} if digest else {}
            self.config = oip.ModelConfigResponse(config=config.ModelConfig(parameters=parameters))
        self.index = ready
        if not isinstance(ready, grpc.StatusCode):
            entry = oip.RepositoryIndexResponse.ModelIndex
            models = [entry(name=n, version=v, state="READY") for n, v in ready]
            self.index = oip.RepositoryIndexResponse(models=models)

    def __call__(self, method, request, kind):
        """Answer a call."""
        answers = {
            "ModelMetadata": self.metadata,
            "ModelConfig": self.config,
            "RepositoryIndex": self.index,
        }
        answer = answers[method.rpartition("/")[2]]
        if isinstance(answer, grpc.StatusCode):
            raise Refused(answer)
        assert isinstance(answer, kind)
        return answer


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], "1.10.0"),  # a server that names none is asked for the bundle's own
        (["1.10.0", INTEGER], "1.10.0"),
        (["1", INTEGER], INTEGER),
    ],
)
def test_version_is_the_bundles_or_the_integer_that_stands_for_it(versions, expected):
    fog = ForeignFog(versions, grpc.StatusCode.UNIMPLEMENTED)
    assert Served(expected, frozenset({TAIL.name})) == find_foreign(fog, "f:1", TAIL)


def test_other_versions_will_not_do():
    """Triton would take 1.10.0 for 1."""
    with pytest.raises(ModelNotFound, match=r"1\.10\.0"):
        find_foreign(ForeignFog(["1", "2"]), "f:1", TAIL)


@pytest.mark.parametrize(
    "digest",
    [None, DIGEST, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED],
)
def test_digest_is_compared_where_there_is_one(digest):
    assert INTEGER == find_foreign(ForeignFog([INTEGER], digest), "f:1", TAIL).version


def test_digest_of_another_bundle_is_refused():
    with pytest.raises(
        RequestInvalid, match="of bundle aaaaaaaaaaaa, this agent's is dddddddddddd"
    ):
        find_foreign(ForeignFog([INTEGER], "a" * 64), "f:1", TAIL)


def test_only_the_bundles_ready_tails_of_the_version_are_served():
    ready = [("m-tail1-int8", INTEGER), ("m-tail0-int8", "7"), ("n-tail1-int8", INTEGER)]
    served = find_foreign(ForeignFog([INTEGER], DIGEST, ready), "f:1", TAIL)
    assert frozenset({"m-tail1-int8", "m-tail2-int8"}) == served.tails
    assert served.serves("m-tail1-int8")
    assert not served.serves("m-tail0-int8")


def test_fog_that_fails_is_not_taken_for_one_that_knows_less():
    with pytest.raises(grpc.RpcError):
        find_foreign(ForeignFog([INTEGER], grpc.StatusCode.UNAVAILABLE), "f:1", TAIL)


@pytest.mark.parametrize("size", [3, 3000, 30000])
def test_version_field_takes_the_place_of_the_one_in_front(size):
    """However the message is read."""
    array = np.arange(size, dtype=np.float32)
    writer = InferWriter("m", "1.10.0", [TensorSpec("a", "float32", (size,))], RAW_INPUT_FIELD)
    content = writer.write("1", {}, [array]) + version_field(INTEGER)
    assert INTEGER == oip.ModelInferRequest.FromString(content).model_version
    request = read_request(content)
    assert (INTEGER, array.tobytes()) == (request.version, bytes(request.inputs[0].content))
