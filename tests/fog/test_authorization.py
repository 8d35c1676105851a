"""Who may call what, decided without a network."""

from contextvars import copy_context

import grpc
import pytest

from fog_server.rights import RIGHTS, RULES
from headtail.allow_list import DEFAULT_ROLES, AllowList, Right
from headtail.errors import HeadtailError, NotAllowed, Unauthenticated
from headtail.identity import Identity, Role
from headtail.server.authorization import Authorization, Denial, guard
from headtail.server.peer import Peer, read_peer

PEER = Peer(Identity(Role.EDGE, "a"), "0" * 64, not_after=100.0)
LISTED = AllowList(DEFAULT_ROLES, {"edge/a": "edge"})
INFER = "/inference.GRPCInferenceService/ModelInfer"
FETCH = "/headtail.v1.Control/FetchBundle"


class Site:
    """An allow list and a clock to turn, and what was counted."""

    def __init__(self) -> None:
        self.allowed = LISTED
        self.now = 0.0
        self.denials: list[Denial] = []
        self.authorization = Authorization(
            RULES, lambda: self.allowed, self.denials.append, lambda: self.now
        )

    def verdict(self, peer: Peer = PEER, method: str = INFER) -> Denial | None:
        """Return why a call is denied, or None."""
        before = len(self.denials)
        try:
            self.authorization.check(peer, method)
        except HeadtailError:
            (denial,) = self.denials[before:]
            return denial
        assert before == len(self.denials)
        return None


@pytest.fixture
def site() -> Site:
    """Return a site where edge/a is listed."""
    return Site()


def test_listed_edge_infers_and_fetches(site) -> None:
    assert [None, None] == [site.verdict(method=m) for m in (INFER, FETCH)]


@pytest.mark.parametrize(
    "method", ["/headtail.v1.Control/Publish", "/headtail.v2.Anything/AtAll", "/x/Y", ""]
)
def test_method_that_nobody_thought_of_is_the_administrators_(method, site) -> None:
    """Forgetting a line here locks a door, and opens none."""
    assert Denial.NO_RIGHT is site.verdict(method=method)
    site.allowed = AllowList({"boss": (Right.ADMINISTER,)}, {"edge/a": "boss"})
    assert site.verdict(method=method) is None


def test_every_method_of_the_server_has_its_rights(fog) -> None:
    """Each one that a client can reach, with none left over."""
    states = fog._server._state.generic_handlers
    registered = set(fog._server._state.registered_method_handlers)
    for handler in states:
        registered |= set(getattr(handler, "_method_handlers", {}))
    assert registered == set(RIGHTS)


def test_certificate_that_expires_under_way_is_refused(site) -> None:
    """A connection may be older than its certificate's end."""
    site.now = 100.0
    assert site.verdict() is None
    site.now = 100.001
    assert Denial.EXPIRED is site.verdict()


def test_revoked_goes_before_listed(site) -> None:
    site.allowed = AllowList(DEFAULT_ROLES, {"edge/a": "edge"}, (PEER.fingerprint,))
    assert Denial.REVOKED is site.verdict()


def test_a_role_without_rights_is_as_good_as_none(site) -> None:
    site.allowed = AllowList({"edge": ()}, {"edge/a": "edge"})
    assert Denial.NOT_LISTED is site.verdict()


def test_same_name_in_another_role_is_another(site) -> None:
    other = Peer(Identity(Role.OPERATOR, "a"), "1" * 64, 100.0)
    assert Denial.NOT_LISTED is site.verdict(other)


def test_denial_is_said_once_and_counted_each_time(site, caplog) -> None:
    """And again after the allow list has changed."""
    stranger = Peer(Identity(Role.EDGE, "b"), "1" * 64, 100.0)
    for _ in range(3):
        site.verdict(stranger)
    assert 1 == caplog.text.count("denied edge/b")
    site.allowed = AllowList(DEFAULT_ROLES, {"edge/a": "edge", "edge/c": "edge"})
    site.verdict(stranger)
    assert 2 == caplog.text.count("denied edge/b")
    assert 4 == len(site.denials)


def test_memory_of_what_was_said_is_bounded(site) -> None:
    for i in range(3000):
        site.verdict(Peer(Identity(Role.EDGE, f"b{i}"), "1" * 64, 100.0))
    assert len(site.authorization._said) <= 1024


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"ssl_tls_version": [b"TLSv1.2"]},
        {"ssl_tls_version": [b"TLSv1.3"]},
        {"ssl_tls_version": [b"TLSv1.3"], "x509_pem_cert": []},
        {"ssl_tls_version": [b"TLSv1.3"], "x509_pem_cert": [b"-----BEGIN CERTIFICATE-----"]},
        {"ssl_tls_version": [b"TLSv1.3"], "x509_pem_cert": [b"a", b"b"]},
        {"ssl_tls_version": [b"TLSv1.3", b"TLSv1.3"], "x509_pem_cert": [b"a"]},
    ],
)
def test_connection_that_names_nobody_is_nobody(properties) -> None:
    """Above all one of TLS 1.2, should the library ever agree to it."""
    with pytest.raises(Unauthenticated):
        read_peer(properties, "fog")


def test_errors_are_those_of_the_statuses(site) -> None:
    with pytest.raises(NotAllowed, match="edge/a may not administer"):
        site.authorization.check(PEER, "/x/Y")
    site.now = 200.0
    with pytest.raises(Unauthenticated, match="has expired"):
        site.authorization.check(PEER, INFER)


def test_guard_keeps_a_method_in_its_pool(start_fog) -> None:
    """Its pools are what keeps one kind of call from starving the others."""
    server = start_fog()
    (handlers,) = [h for h in server._server._state.generic_handlers if INFER in h._method_handlers]

    class Details:
        method = INFER

    handler = handlers._method_handlers[INFER]
    wrapper = guard(Authorization(RULES, lambda: LISTED, lambda _: None))
    guarded = wrapper.intercept_service(lambda _: handler, Details)
    pool = handler.stream_unary.experimental_thread_pool
    assert pool is guarded.stream_unary.experimental_thread_pool
    assert guarded is wrapper.intercept_service(lambda _: handler, Details)
    assert wrapper.intercept_service(lambda _: None, Details) is None
    assert isinstance(guarded, grpc.RpcMethodHandler)


class Frames:
    """Messages that say whether another is there."""

    def __init__(self, count: int) -> None:
        self._left = list(range(count))

    def __iter__(self):
        while self._left:
            yield next(self)

    def __next__(self) -> int:
        return self._left.pop(0)

    def ready(self) -> bool:
        """Return whether there is one more."""
        return bool(self._left)


class Called:
    """What a guarded method sees of its call."""

    def __init__(self) -> None:
        self.code = None
        self.is_cancelled = False

    def peer(self) -> str:
        """Return somebody."""
        return "ipv4:10.0.0.1:1"

    def add_callback(self, callback) -> bool:
        """Return that the call goes on."""
        return True

    def set_code(self, code) -> None:
        """Remember the status."""
        self.code = code

    def set_details(self, details) -> None:
        """Pass over its text."""

    def cancel(self) -> None:
        """Remember that the connection is ended."""
        self.is_cancelled = True


def test_guarded_messages_still_say_whether_another_is_there(site, monkeypatch) -> None:
    """Windows that lie there together run together, behind a guard as without one."""
    monkeypatch.setattr(site.authorization, "authenticate", lambda context: PEER)
    seen: list[tuple[int, bool]] = []

    def method(frames, context) -> None:
        first = next(frames)
        seen.append((first, frames.ready()))
        for frame in frames:
            seen.append((frame, frames.ready()))
            if frame == 2:
                site.allowed = AllowList(DEFAULT_ROLES, {})

    handler = grpc.stream_unary_rpc_method_handler(method)
    guarded = guard(site.authorization).wrap(INFER, handler)
    context = Called()
    # As on a thread of its own: who calls is then forgotten.
    copy_context().run(guarded.stream_unary, Frames(5), context)
    assert [(0, True), (1, True), (2, True)] == seen
    assert grpc.StatusCode.PERMISSION_DENIED is context.code


def test_stream_that_begins_while_the_list_changes_is_cut_off(site, monkeypatch) -> None:
    """It was let in by the list before, and is struck off by the new one, which is swept once."""
    context, other = Called(), Peer(Identity(Role.EDGE, "b"), "1" * 64, 100.0)

    class Changing(AllowList):
        """A list; while someone is looked up in it, another takes its place."""

        def rights(self, identity):
            """Return them."""
            site.allowed = AllowList(DEFAULT_ROLES, {"edge/b": "edge"})
            site.authorization.check(other, INFER)
            return super().rights(identity)

    site.allowed = Changing(DEFAULT_ROLES, {"edge/a": "edge"})
    monkeypatch.setattr(site.authorization, "authenticate", lambda context: PEER)
    handler = grpc.stream_stream_rpc_method_handler(lambda frames, _context: frames)
    call = guard(site.authorization).wrap(INFER, handler)
    copy_context().run(call.stream_stream, iter(()), context)
    assert context.is_cancelled
