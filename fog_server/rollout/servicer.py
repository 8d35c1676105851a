"""The service that operators call; see `control.proto`."""

from collections.abc import Iterator

import grpc

from fog_server.activity import Activity
from fog_server.identity import caller_name
from fog_server.rollout.fleet import ManagedFleet
from fog_server.rollout.messages import info, read_rules
from fog_server.rollout.rollouts import Order, Publication, Published, Ref
from fog_server.rollout.state import Model
from fog_server.rpc import abort, domain_error, guarded
from headtail.errors import HeadtailError, RequestInvalid, WrongState
from headtail.v1 import control_pb2 as pb
from headtail.v1 import control_pb2_grpc


class RolloutsServicer(control_pb2_grpc.RolloutsServicer):
    """headtail.v1.Rollouts."""

    def __init__(self, fleet: ManagedFleet | None, activity: Activity) -> None:
        """Change what `fleet` runs; without one every call is refused."""
        self._managed = fleet
        self._activity = activity

    def PublishBundle(  # noqa: N802 - the service's name for it
        self, request_iterator: Iterator[pb.PublishBundleRequest], context: grpc.ServicerContext
    ) -> pb.PublishBundleResponse:
        """Receive, check and test a bundle; it becomes a candidate."""
        try:
            with self._activity.call():
                return self._publish(request_iterator, context)
        except grpc.RpcError:
            fault: HeadtailError = RequestInvalid("publication", "it broke off")
        except Exception as error:  # noqa: BLE001 - the RPC border
            fault = domain_error(error)
        if self._managed is not None:
            self._managed.metrics.published(None)
        abort(context, fault)

    def ListRollouts(  # noqa: N802 - the service's name for it
        self, request: pb.ListRolloutsRequest, context: grpc.ServicerContext
    ) -> pb.ListRolloutsResponse:
        """List models, bundles, states and events."""

        def behavior(
            request: pb.ListRolloutsRequest, _: grpc.ServicerContext
        ) -> pb.ListRolloutsResponse:
            found = self._fleet.view(request.name, with_agents=request.with_agents)
            return pb.ListRolloutsResponse(rollouts=found)

        return guarded(behavior)(request, context)

    def StartCanary(  # noqa: N802 - the service's name for it
        self, request: pb.StartCanaryRequest, context: grpc.ServicerContext
    ) -> pb.Rollout:
        """Put a bundle on trial; one whose answers are plainly others is taken back at once."""
        return guarded(self._start_canary)(request, context)

    def SetCanaryShare(  # noqa: N802 - the service's name for it
        self, request: pb.SetCanaryShareRequest, context: grpc.ServicerContext
    ) -> pb.Rollout:
        """Give the canary another share."""
        return guarded(self._set_share)(request, context)

    def Promote(  # noqa: N802 - the service's name for it
        self, request: pb.PromoteRequest, context: grpc.ServicerContext
    ) -> pb.Rollout:
        """Make the canary or a candidate active."""
        return guarded(self._promote)(request, context)

    def RollBack(  # noqa: N802 - the service's name for it
        self, request: pb.RollBackRequest, context: grpc.ServicerContext
    ) -> pb.Rollout:
        """Take the canary, or what was promoted last, back."""
        return guarded(self._roll_back)(request, context)

    def Retire(  # noqa: N802 - the service's name for it
        self, request: pb.RetireRequest, context: grpc.ServicerContext
    ) -> pb.Rollout:
        """Retire a candidate, or remove a retired bundle."""
        return guarded(self._retire)(request, context)

    @property
    def _fleet(self) -> ManagedFleet:
        if self._managed is None:
            raise WrongState("fog", "it keeps no rollout; start it with --rollout")
        return self._managed

    def _publish(
        self, messages: Iterator[pb.PublishBundleRequest], context: grpc.ServicerContext
    ) -> pb.PublishBundleResponse:
        fleet = self._fleet
        first = next(messages, pb.PublishBundleRequest())
        if first.WhichOneof("part") != "header":
            raise RequestInvalid("publication", "expected a header first")
        header = first.header
        sent = Publication(header.size_bytes, header.digest, header.allow_older)
        order = Order(caller_name(context), header.reason)
        published = fleet.rollouts.publish(sent, _chunks(messages), order)
        fleet.metrics.published(published)
        fleet.tell()
        return _published(published)

    def _start_canary(
        self, request: pb.StartCanaryRequest, context: grpc.ServicerContext
    ) -> pb.Rollout:
        fleet = self._fleet
        rules = read_rules(request.rules, fleet.settings.rules)
        model = fleet.rollouts.start_canary(_ref(request.bundle), rules, _order(request, context))
        # Before any agent is told: the samples alone may condemn it.
        fleet.keeper.decide(model.name)
        return self._told(fleet.rollouts.model(model.name))

    def _set_share(
        self, request: pb.SetCanaryShareRequest, context: grpc.ServicerContext
    ) -> pb.Rollout:
        if not 0 <= request.share_ratio <= 1:
            raise RequestInvalid("share_ratio", f"expected 0 to 1, received {request.share_ratio}")
        order = _order(request, context)
        return self._told(self._fleet.rollouts.set_share(request.name, request.share_ratio, order))

    def _promote(self, request: pb.PromoteRequest, context: grpc.ServicerContext) -> pb.Rollout:
        order = _order(request, context)
        return self._told(self._fleet.rollouts.promote(_ref(request.bundle), order))

    def _roll_back(self, request: pb.RollBackRequest, context: grpc.ServicerContext) -> pb.Rollout:
        return self._told(self._fleet.rollouts.roll_back(request.name, _order(request, context)))

    def _retire(self, request: pb.RetireRequest, context: grpc.ServicerContext) -> pb.Rollout:
        fleet, ref = self._fleet, _ref(request.bundle)
        model = fleet.rollouts.retire(
            ref, _order(request, context), lambda digest: fleet.running(ref.name, digest)
        )
        return self._told(model)

    def _told(self, model: Model) -> pb.Rollout:
        self._fleet.tell()
        return self._fleet.show(model)


def _ref(message: pb.BundleRef) -> Ref:
    return Ref(message.name, message.version, message.digest)


def _order(
    request: pb.StartCanaryRequest
    | pb.SetCanaryShareRequest
    | pb.PromoteRequest
    | pb.RollBackRequest
    | pb.RetireRequest,
    context: grpc.ServicerContext,
) -> Order:
    generation = request.generation if request.HasField("generation") else None
    return Order(caller_name(context), " ".join(request.reason.split()), generation)


def _chunks(messages: Iterator[pb.PublishBundleRequest]) -> Iterator[bytes]:
    for message in messages:
        if message.WhichOneof("part") != "chunk":
            raise RequestInvalid("publication", "expected chunks after the header")
        yield message.chunk


def _published(published: Published) -> pb.PublishBundleResponse:
    return pb.PublishBundleResponse(
        bundle=info(published.model, published.entry),
        is_new=published.is_new,
        generation=published.model.generation,
        self_test_error=published.self_test_error,
    )
