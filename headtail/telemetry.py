"""Keeping onnxruntime from phoning home: its wheels upload usage unless told not to."""

import os

VARIABLE = "ORT_DISABLE_TELEMETRY"


def disable() -> None:
    """Turn onnxruntime's telemetry off, unless the user has set its variable.

    It must come before onnxruntime is imported: importing it writes a device identifier and a
    database below `~/.cache`, and starts an uploader. Every program's `main` calls this first.

    Source: Privacy.md in the onnxruntime wheel, "Disabling Telemetry".
    """
    os.environ.setdefault(VARIABLE, "1")
