"""Who may change a rollout, and whose name an agent may report under."""

import grpc
import pytest
from tls_site import EDGE, OPERATOR, Status, attempt

from fog_server.rights import RIGHTS
from headtail.allow_list import Right
from headtail.v1 import control_pb2 as pb
from headtail.v1.control_pb2_grpc import ControlStub, RolloutsStub

CALLS = {
    "ListRollouts": pb.ListRolloutsRequest(),
    "StartCanary": pb.StartCanaryRequest(),
    "SetCanaryShare": pb.SetCanaryShareRequest(),
    "Promote": pb.PromoteRequest(),
    "RollBack": pb.RollBackRequest(),
    "Retire": pb.RetireRequest(),
}


def test_every_method_has_its_rights():
    services = pb.DESCRIPTOR.services_by_name.values()
    methods = {f"/{s.full_name}/{m.name}" for s in services for m in s.methods}
    assert methods <= RIGHTS.keys()
    changing = {m for m in methods if "Rollouts" in m} - {
        "/headtail.v1.Rollouts/PublishBundle",
        "/headtail.v1.Rollouts/ListRollouts",
    }
    assert all(RIGHTS[m] == {Right.ADMINISTER} for m in changing)


@pytest.mark.parametrize("method", [*CALLS, "PublishBundle"])
def test_agents_may_not_and_operators_may(method, listed):
    """An operator gets as far as being told that this fog keeps no rollout."""

    def call(channel: grpc.Channel):
        stub = getattr(RolloutsStub(channel), method)
        return stub(CALLS[method] if method in CALLS else iter(()), timeout=20)

    for identity, expected in (
        (EDGE, Status.PERMISSION_DENIED),
        (OPERATOR, Status.FAILED_PRECONDITION),
    ):
        with listed.channel(listed.certificate(identity)) as channel:
            assert expected is attempt(lambda: call(channel))


def test_agent_reports_under_the_name_of_its_certificate(listed):
    with listed.channel(listed.certificate(EDGE)) as channel:
        control = ControlStub(channel)
        for agent, expected in (
            ("agent-7", Status.OK),
            ("", Status.OK),
            ("agent-8", Status.PERMISSION_DENIED),
        ):
            status = pb.AgentStatus(agent=agent, name="chain")
            assert expected is attempt(lambda s=status: control.ReportStatus(s, timeout=20))
            watch = control.WatchDirectives(status, timeout=20)
            assert expected is attempt(lambda w=watch: next(w))
            watch.cancel()
