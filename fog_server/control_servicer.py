"""The control service: which bundles are served, and their files."""

from collections.abc import Iterator

import grpc

from fog_server.activity import Activity
from fog_server.rpc import abort
from fog_server.store import BundleStore, StoredBundle
from headtail.errors import ModelNotFound
from headtail.v1 import control_pb2, control_pb2_grpc

CHUNK_BYTES = 256 << 10


class ControlServicer(control_pb2_grpc.ControlServicer):
    """headtail.v1.Control."""

    def __init__(self, store: BundleStore, activity: Activity) -> None:
        """List and send what is in `store`."""
        self._store = store
        self._activity = activity

    def ListBundles(  # noqa: N802 - the service's name for it
        self, request: control_pb2.ListBundlesRequest, context: grpc.ServicerContext
    ) -> control_pb2.ListBundlesResponse:
        """List every bundle, sorted by name, then version."""
        return control_pb2.ListBundlesResponse(bundles=[_info(b) for b in self._store.bundles])

    def FetchBundle(  # noqa: N802 - the service's name for it
        self, request: control_pb2.FetchBundleRequest, context: grpc.ServicerContext
    ) -> Iterator[control_pb2.FetchBundleResponse]:
        """Send what a bundle is, then its file in chunks."""
        try:
            bundle = self._store.bundle(request.name, request.version)
        except ModelNotFound as error:
            fault = error
        else:
            with self._activity.call():
                yield control_pb2.FetchBundleResponse(bundle=_info(bundle))
                for offset in range(0, bundle.size_bytes, CHUNK_BYTES):
                    chunk = bundle.read(offset, CHUNK_BYTES)
                    yield control_pb2.FetchBundleResponse(chunk=chunk)
            return
        abort(context, fault)


def _info(bundle: StoredBundle) -> control_pb2.BundleInfo:
    return control_pb2.BundleInfo(
        name=bundle.manifest.name,
        version=bundle.manifest.version,
        digest=bundle.digest,
        size_bytes=bundle.size_bytes,
    )
