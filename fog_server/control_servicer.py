"""The control service: what agents should run, the bundles' files, and what agents report."""

from collections.abc import Iterator
from functools import partial
from typing import Protocol

import grpc

from fog_server.activity import Activity
from fog_server.identity import caller_name
from fog_server.rollout.watchers import Send, Watcher, Watchers
from fog_server.rpc import guarded, guarded_stream
from fog_server.store import BundleStore, StoredBundle
from headtail.errors import RequestInvalid
from headtail.server.handlers import non_blocking
from headtail.v1 import control_pb2, control_pb2_grpc

CHUNK_BYTES = 256 << 10


class Fleet(Protocol):
    """What decides which bundle an agent runs."""

    def directive(self, name: str, agent: str) -> control_pb2.Directive:
        """Return what an agent should run."""

    def report(self, status: control_pb2.AgentStatus, agent: str) -> None:
        """Take what an agent says."""

    def info(self, bundle: StoredBundle) -> control_pb2.BundleInfo:
        """Return what a bundle is and where it stands."""


class ControlServicer(control_pb2_grpc.ControlServicer):
    """headtail.v1.Control."""

    def __init__(
        self, store: BundleStore, activity: Activity, fleet: Fleet, watchers: Watchers
    ) -> None:
        """List and send what is in `store`, and pass on what `fleet` says."""
        self._store = store
        self._activity = activity
        self._fleet = fleet
        self._watchers = watchers

    def ListBundles(  # noqa: N802 - the service's name for it
        self, request: control_pb2.ListBundlesRequest, context: grpc.ServicerContext
    ) -> control_pb2.ListBundlesResponse:
        """List every bundle, sorted by name, then version."""
        bundles = [self._fleet.info(bundle) for bundle in self._store.bundles]
        return control_pb2.ListBundlesResponse(bundles=bundles)

    def FetchBundle(  # noqa: N802 - the service's name for it
        self, request: control_pb2.FetchBundleRequest, context: grpc.ServicerContext
    ) -> Iterator[control_pb2.FetchBundleResponse]:
        """Send what a bundle is, then its file in chunks."""
        return guarded_stream(self._fetch)(request, context)

    @non_blocking
    def WatchDirectives(  # noqa: N802 - the service's name for it
        self, request: control_pb2.AgentStatus, context: grpc.ServicerContext, send: Send
    ) -> None:
        """Send what the agent should run, and again whenever that changes."""
        guarded(partial(self._watch, send))(request, context)

    def ReportStatus(  # noqa: N802 - the service's name for it
        self, request: control_pb2.AgentStatus, context: grpc.ServicerContext
    ) -> control_pb2.Directive:
        """Take what an agent says of itself; return what it should run."""
        return guarded(self._report)(request, context)

    def _report(
        self, request: control_pb2.AgentStatus, context: grpc.ServicerContext
    ) -> control_pb2.Directive:
        agent = caller_name(context, request.agent)
        directive = self._fleet.directive(request.name, agent)
        self._fleet.report(request, agent)
        return directive

    def _fetch(
        self, request: control_pb2.FetchBundleRequest, _: grpc.ServicerContext
    ) -> Iterator[control_pb2.FetchBundleResponse]:
        bundle = self._store.bundle(request.name, request.version, request.digest)
        _check_offset(request, bundle)
        with self._activity.call():
            yield control_pb2.FetchBundleResponse(bundle=self._fleet.info(bundle))
            for offset in range(request.offset_bytes, bundle.size_bytes, CHUNK_BYTES):
                chunk = bundle.read(offset, CHUNK_BYTES)
                yield control_pb2.FetchBundleResponse(chunk=chunk)

    def _watch(
        self, send: Send, request: control_pb2.AgentStatus, context: grpc.ServicerContext
    ) -> None:
        agent = caller_name(context, request.agent)
        self._fleet.directive(request.name, agent)  # who asks for what is not here is not noted
        self._fleet.report(request, agent)
        watcher = Watcher(lambda: self._fleet.directive(request.name, agent), send)
        self._watchers.add(watcher)
        if not context.add_callback(lambda: self._watchers.discard(watcher)):
            self._watchers.discard(watcher)
        watcher.update()


def _check_offset(request: control_pb2.FetchBundleRequest, bundle: StoredBundle) -> None:
    if not 0 <= request.offset_bytes <= bundle.size_bytes:
        raise RequestInvalid(
            "offset_bytes", f"expected 0 to {bundle.size_bytes}, received {request.offset_bytes}"
        )
