"""Going back on purpose: an agent follows the fog that it knows, and no other."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.bundle_fetch import fetch_bundle
from edge_agent.ran import RECORD, check_ran, read_ran, record_ran
from fog_server.config import Config as FogConfig
from fog_server.config import Rollout, Wire
from fog_server.rollout.client import Client
from fog_server.server import FogServer
from headtail.allow_list import DEFAULT_ROLES, AllowList, write_allow_list
from headtail.bundle.installed import read_installed
from headtail.certificates import issue, make_authority, valid_from_now
from headtail.errors import BundleOutdated, ConfigError
from headtail.identity import Identity, Role
from headtail.server.config import Tls
from headtail.tls import ClientTls
from headtail.v1 import control_pb2 as pb

AGENT, OPERATOR = Identity(Role.EDGE, "agent-7"), Identity(Role.OPERATOR, "ann")
OLD, NEW = "1.0.0", "2.0.0"
TIMEOUT_S = 120.0


class Site:
    """An authority, and a fog that keeps a rollout, where the old version is active."""

    def __init__(self, folder: Path, trust: Path, bundle: Path) -> None:
        self._keys = folder / "keys"
        make_authority(self._keys, "site", valid_from_now(1))
        listed = {str(i): i.role.value for i in (AGENT, OPERATOR)}
        write_allow_list(self._keys / "allow.toml", AllowList(DEFAULT_ROLES, listed))
        fog = issue(self._keys, Identity(Role.FOG, "fog-1"), ["127.0.0.1"], valid_from_now(1))
        self.agent, self.operator = map(self._issue, (AGENT, OPERATOR))
        self._bundles = folder / "bundles"
        self._bundles.mkdir()
        shutil.copy(bundle, self._bundles)
        self._trust = trust
        paths = self._keys / "ca.pem", fog.cert, fog.key, self._keys / "allow.toml"
        self.server = self.start(Tls(*map(str, paths)))

    def start(self, tls: Tls | None = None) -> FogServer:
        """Start a fog over these bundles, and what is known of them; None is plaintext."""
        config = FogConfig(
            bundles=str(self._bundles),
            listen="127.0.0.1:0",
            trust=str(self._trust),
            wire=Wire(settle_s=0.05),
            rollout=Rollout(enabled=True, poll_s=0.02, report_s=0.2),
            tls=tls or Tls(),
        )
        return FogServer(config)

    def promote(self, path: Path) -> None:
        """Make the new version active."""
        with self._client() as client:
            digest = client.publish(path, "", allow_older=False).bundle.digest
            reference = pb.BundleRef(name="chain", digest=digest)
            client.promote(pb.PromoteRequest(bundle=reference))

    def roll_back(self) -> None:
        """Make the old version active again."""
        with self._client() as client:
            client.roll_back(pb.RollBackRequest(name="chain"))

    def said_of_agents(self) -> str:
        """Return why their last updates failed."""
        with self._client() as client:
            (found,) = client.rollouts("chain", with_agents=True)
            return " ".join(agent.status.reason for agent in found.agents)

    def _issue(self, identity: Identity) -> ClientTls:
        made = issue(self._keys, identity, (), valid_from_now(1))
        return ClientTls(self._keys / "ca.pem", made.cert, made.key)

    def _client(self) -> closing[Client]:
        return closing(Client(self.server.address, self.operator, TIMEOUT_S))


@pytest.fixture
def new_path(write_test_bundle, tmp_path) -> Path:
    """Return version 2.0.0."""
    return write_test_bundle(tmp_path, "chain", version=NEW)


@pytest.fixture
def make_site(
    tmp_path_factory: pytest.TempPathFactory, key_folder: Path, bundle_path: Path
) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a site with a bundle; all are stopped afterwards."""
    sites: list[Site] = []

    def make(path: Path = bundle_path) -> Site:
        folder = tmp_path_factory.mktemp("site")
        sites.append(Site(folder, key_folder / "trust", path))
        return sites[-1]

    yield make
    for site in sites:
        site.server.drain()


def test_agent_that_starts_after_a_rollback_takes_the_older_bundle(
    make_site, new_path, trust, tmp_path, unused_address
):
    """And stays with it where the fog is away: the newer one that was fetched is withdrawn."""
    site, state = make_site(), tmp_path / "state"

    def fetch(address: str) -> str:
        return fetch_bundle([address], ("chain", ""), state, trust, site.agent).manifest.version

    site.promote(new_path)
    assert NEW == fetch(site.server.address)
    site.roll_back()
    assert OLD == fetch(site.server.address)
    assert {"chain": OLD} == read_installed(state)
    assert OLD == fetch(unused_address)


def test_rollback_is_not_believed_of_a_fog_that_proves_nothing(
    make_site, new_path, trust, tmp_path
):
    """Over plaintext whoever answers may be anybody."""
    site, state = make_site(), tmp_path / "state"
    site.promote(new_path)
    fetch_bundle([site.server.address], ("chain", ""), state, trust, site.agent)
    site.roll_back()
    plain = site.start()
    try:
        with pytest.raises(BundleOutdated, match=rf"chain {NEW} or newer.*received chain {OLD}"):
            fetch_bundle([plain.address], ("chain", ""), state, trust)
    finally:
        plain.drain()


def test_fog_that_never_had_the_newer_bundle_is_no_rollback(make_site, new_path, trust, tmp_path):
    """One that was left behind, say: nobody has ordered that."""
    site, behind, state = make_site(), make_site(), tmp_path / "state"
    site.promote(new_path)
    fetch_bundle([site.server.address], ("chain", ""), state, trust, site.agent)
    with pytest.raises(BundleOutdated, match=rf"chain {NEW} or newer.*received chain {OLD}"):
        fetch_bundle([behind.server.address], ("chain", ""), state, trust, behind.agent)


def test_agent_that_began_with_the_newer_bundle_follows_a_rollback(
    feed, make_site, new_path, bundle, tmp_path
):
    """Also when it starts again, and when its folder of updates is lost."""
    site = make_site()
    site.promote(new_path)
    files = {"tls_ca": site.agent.ca, "tls_cert": site.agent.cert, "tls_key": site.agent.key}
    settings = {"bundle": "", "model": "chain", "fog": site.server.address}
    settings |= {flag: str(path) for flag, path in files.items()}
    first = feed(**settings)
    first.feed_until(lambda: len(first.lines()) > 0)
    assert bundle.digest != first.lines()[0]["bundle"]
    site.roll_back()
    first.feed_until(lambda: first.lines()[-1]["bundle"] == bundle.digest)
    first.feed(10)
    first.end()
    for _ in range(2):
        again = feed(**settings)
        again.feed(3)
        assert {bundle.digest} == {line["bundle"] for line in again.end()}
        shutil.rmtree(tmp_path / "state" / "updates")


@pytest.fixture
def ancient_path(write_test_bundle, tmp_path) -> Path:
    """Return version 0.9.0, withdrawn long ago and rightly signed."""
    return write_test_bundle(tmp_path, "chain", version="0.9.0")


def test_start_goes_back_no_further_than_this_device_has_been(
    make_site, new_path, ancient_path, trust, tmp_path
):
    """Whoever has the fog's key may name any version; by hand it still may be taken."""
    site, state = make_site(ancient_path), tmp_path / "state"
    site.promote(new_path)
    for version in (OLD, NEW):
        record_ran(state, "chain", version)
    site.roll_back()

    def fetch(version: str) -> str:
        wanted = ("chain", version)
        address = [site.server.address]
        return fetch_bundle(address, wanted, state, trust, site.agent).manifest.version

    with pytest.raises(BundleOutdated, match=rf"chain {OLD} or newer.*received chain 0\.9\.0"):
        fetch("")
    assert "0.9.0" == fetch("0.9.0")
    assert "0.9.0" == fetch("")


def test_running_agent_goes_back_no_further_than_this_device_has_been(
    feed, make_site, new_path, ancient_path, tmp_path
):
    """It says so, and goes on with what it runs."""
    site = make_site(ancient_path)
    site.promote(new_path)
    record_ran(tmp_path / "state", "chain", OLD)
    files = {"tls_ca": site.agent.ca, "tls_cert": site.agent.cert, "tls_key": site.agent.key}
    settings = {"bundle": "", "model": "chain", "fog": site.server.address}
    settings |= {flag: str(path) for flag, path in files.items()}
    fed = feed(**settings)
    fed.feed_until(lambda: len(fed.lines()) > 0)
    site.roll_back()
    fed.feed_until(lambda: f"expected chain {OLD} or newer" in site.said_of_agents())
    fed.feed(10)
    assert 1 == len({line["bundle"] for line in fed.end()})
    assert (OLD, NEW) == read_ran(tmp_path / "state")["chain"]


def test_versions_that_ran_are_remembered_up_to_a_number(tmp_path):
    """The floor rises with them; a device that has run one version may go back to any."""
    check_ran(tmp_path, "x", "chain", "0.1")
    record_ran(tmp_path, "chain", "5")
    check_ran(tmp_path, "x", "chain", "0.1")
    for version in (*map(str, range(1, 11)), "4"):
        record_ran(tmp_path, "chain", version)
    assert ("3", "5", "6", "7", "8", "9", "10", "4") == read_ran(tmp_path)["chain"]
    check_ran(tmp_path, "x", "chain", "3")
    check_ran(tmp_path, "x", "other", "1")
    with pytest.raises(BundleOutdated, match=r"expected chain 3 or newer.*received chain 2"):
        check_ran(tmp_path, "x", "chain", "2")
    (tmp_path / RECORD).write_text("{}}")
    with pytest.raises(ConfigError, match=r"ran.json: cannot be read"):
        check_ran(tmp_path, "x", "chain", "3")
