"""A fleet without a rollout: of every name the newest version is for everybody."""

from fog_server.store import BundleStore, StoredBundle
from headtail.v1 import control_pb2


class PlainFleet:
    """What agents are told where bundles have no states."""

    def __init__(self, store: BundleStore, report_s: float) -> None:
        """Direct agents to what is in `store`; they are to report every `report_s` seconds."""
        self._store = store
        self._report_s = report_s

    def directive(self, name: str, agent: str) -> control_pb2.Directive:
        """Return the newest version.

        Raises:
            ModelNotFound: If there is none of that name.
        """
        bundle = self._store.bundle(name)
        return control_pb2.Directive(
            name=name,
            version=bundle.manifest.version,
            digest=bundle.digest,
            size_bytes=bundle.size_bytes,
            role=control_pb2.ROLE_ACTIVE,
            reason="the newest here; this fog keeps no rollout",
            report_interval_s=self._report_s,
        )

    def report(self, status: control_pb2.AgentStatus, agent: str) -> None:
        """Listen, and remember nothing."""

    def info(self, bundle: StoredBundle) -> control_pb2.BundleInfo:
        """Return what a bundle is."""
        return plain_info(bundle)


def plain_info(bundle: StoredBundle) -> control_pb2.BundleInfo:
    """Return what a bundle is that has no state."""
    return control_pb2.BundleInfo(
        name=bundle.manifest.name,
        version=bundle.manifest.version,
        digest=bundle.digest,
        size_bytes=bundle.size_bytes,
    )
