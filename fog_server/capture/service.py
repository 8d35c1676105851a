"""The capture as the server sees it: there, or not; and its service, which is always there."""

import grpc
from prometheus_client import CollectorRegistry

from fog_server.activity import Activity
from fog_server.capture.capture import Capture, capture_folder
from fog_server.capture.servicer import CaptureServicer
from fog_server.config import Config
from fog_server.store import BundleStore
from headtail.errors import ConfigError
from headtail.v1 import capture_pb2, capture_pb2_grpc

CAPTURE_SERVICE = capture_pb2.DESCRIPTOR.services_by_name["Capture"].full_name


def open_capture(config: Config, store: BundleStore, registry: CollectorRegistry) -> Capture | None:
    """Return what captures inputs; None where nothing is captured and nothing is left of before.

    Raises:
        ConfigError: If the folder cannot be used.
    """
    folder = capture_folder(config.capture, config.bundles)
    if not config.capture.enabled and not folder.is_dir():
        return None
    try:
        return Capture(config.capture, folder, store, registry)
    except OSError as error:
        raise ConfigError(
            "capture.folder", f"'{folder}' cannot be used: {error.strerror or error}"
        ) from error


def add_capture(
    server: grpc.Server, capture: Capture | None, store: BundleStore, activity: Activity
) -> None:
    """Let a server answer the service's call."""
    capture_pb2_grpc.add_CaptureServicer_to_server(
        CaptureServicer(capture, store, activity), server
    )
