"""Every error the project raises on purpose.

HeadtailError
├── BundleError
│   ├── BundleUnreadable      not a zip, a missing, foreign, oversized or duplicate member
│   ├── ManifestInvalid       the manifest breaks its own rules
│   ├── DigestMismatch        a member is not the one the manifest names
│   ├── SignatureInvalid      unsigned, signed by an unknown key, or changed after signing
│   ├── FormatUnsupported     written by a newer headtail
│   ├── BundleOutdated        older than one that was installed before
│   └── SelfTestFailed        the samples do not give the outputs recorded beside them
├── TensorError
│   ├── ShapeMismatch
│   ├── DTypeMismatch
│   ├── NotFinite
│   └── TensorInvalid         a missing, extra or wrongly sized tensor
├── RemoteError
│   ├── FogUnavailable
│   ├── DeadlineExceeded
│   ├── Overloaded
│   ├── ModelNotFound
│   ├── RequestInvalid        the other side refused the request as malformed
│   ├── Unauthenticated       the other side cannot tell who asks
│   ├── NotAllowed            the other side knows who asks, and refuses
│   ├── WrongState            what is asked for cannot be done as things stand
│   ├── Superseded            another change came first
│   └── RemoteFailed          the other side failed while answering
├── JobError
│   ├── JobNotFound           the optimizer service keeps no such job
│   └── OptimizerUnavailable  the optimizer service cannot be reached, or is going away
├── WorkerFailed              a process that was to serve could not
├── ConfigError               a wrong file, key, flag or environment
├── DataError                 missing or malformed data
├── SpoolError                a spool that is full, corrupt, in use, or of another run
├── ExportError               a model that cannot be cut or exported
│   └── VerificationFailed    the segments do not equal the model
├── PruningError              a model that cannot be pruned, or not as asked
└── SearchError

A class takes typed arguments and builds its text: what was expected, what came, where.
"""

from collections.abc import Sequence


class HeadtailError(Exception):
    """Something the user can act on; its text is one line."""


class WorkerFailed(HeadtailError):
    """A process that was to serve could not; the text is what it said, or how it ended."""


class BundleError(HeadtailError):
    """A bundle that must not be used."""


class BundleUnreadable(BundleError):
    """The file is no bundle, or its members are not those a bundle may have."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"bundle {where}: {reason}")


class ManifestInvalid(BundleError):
    """The manifest breaks its own rules."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"bundle {where}: manifest invalid: {reason}")


class DigestMismatch(BundleError):
    """A member is not the one the manifest names."""

    def __init__(self, where: str, member: str, expected: str, received: str) -> None:
        super().__init__(
            f"bundle {where}: member '{member}': expected SHA-256 {expected}, received {received}"
        )


class SignatureInvalid(BundleError):
    """Nobody trusted vouches for this manifest."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"bundle {where}: signature invalid: {reason}")


class FormatUnsupported(BundleError):
    """The bundle's format version is not one this reader knows."""

    def __init__(self, where: str, supported: int, received: int) -> None:
        super().__init__(
            f"bundle {where}: expected format version 1 to {supported}, received {received}"
            "; upgrade headtail to read it"
        )


class BundleOutdated(BundleError):
    """The bundle is older than the newest one installed under its name."""

    def __init__(self, where: str, installed: str, received: str) -> None:
        super().__init__(
            f"bundle {where}: expected {installed} or newer, which was installed before,"
            f" received {received}"
        )


class SelfTestFailed(BundleError):
    """The bundle's samples do not give the outputs recorded beside them."""

    def __init__(self, where: str, output: str, error: float, tolerance: float) -> None:
        super().__init__(
            f"bundle {where}: self-test of output '{output}': expected a relative error of at most"
            f" {tolerance:g}, received {error:.3g}"
        )


class TensorError(HeadtailError):
    """A tensor that does not fit its spec."""


class ShapeMismatch(TensorError):
    """A tensor has another shape than its spec."""

    def __init__(self, where: str, expected: Sequence[int], received: Sequence[int]) -> None:
        super().__init__(f"{where}: expected shape {_shape(expected)}, received {_shape(received)}")


class DTypeMismatch(TensorError):
    """A tensor has another dtype than its spec."""

    def __init__(self, where: str, expected: str, received: str) -> None:
        super().__init__(f"{where}: expected {expected}, received {received}")


class NotFinite(TensorError):
    """A tensor holds NaN or infinity."""

    def __init__(self, where: str, count: int, size: int) -> None:
        super().__init__(f"{where}: expected finite values, received {count} NaN or inf of {size}")


class TensorInvalid(TensorError):
    """A tensor is missing, not asked for, or has the wrong number of bytes."""

    def __init__(self, where: str, expected: str, received: str) -> None:
        super().__init__(f"{where}: expected {expected}, received {received}")


class RemoteError(HeadtailError):
    """A call to another program that brought no answer."""


class FogUnavailable(RemoteError):
    """The fog cannot be reached, or is going away."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"fog {where}: unavailable: {reason}")


class DeadlineExceeded(RemoteError):
    """The deadline passed before the answer; `allowed_s` is how long it was, where known.

    `cause` is the word that the metrics of whoever dropped the work count it under.
    """

    def __init__(self, where: str, allowed_s: float | None = None, cause: str = "") -> None:
        within = "before the deadline" if allowed_s is None else f"within {allowed_s:.3f} s"
        super().__init__(f"{where}: no answer {within}")
        self.cause = cause


class Overloaded(RemoteError):
    """The other side has no room now; `retry_delay_s` says when to try again.

    `cause` is the word that the metrics of whoever refuses count it under.
    """

    def __init__(self, where: str, reason: str, retry_delay_s: float, cause: str = "") -> None:
        super().__init__(f"{where}: overloaded: {reason}; retry in {retry_delay_s:.3f} s")
        self.retry_delay_s = retry_delay_s
        self.cause = cause


class ModelNotFound(RemoteError):
    """The fog serves no such model or version; `known` are those it serves, where that is known."""

    def __init__(self, model: str, version: str, known: Sequence[str] | None = None) -> None:
        wanted = f"'{model}'" + (f" version '{version}'" if version else "")
        served = "" if known is None else f"; served: {', '.join(known[:8]) or 'none'}"
        super().__init__(f"model {wanted}: not served here{served}")


class RequestInvalid(RemoteError):
    """The other side refused the request as malformed."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: request refused: {reason}")


class Unauthenticated(RemoteError):
    """The other side cannot tell who asks: no certificate, or one that is no longer good."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: not authenticated: {reason}")


class NotAllowed(RemoteError):
    """The other side knows who asks, and refuses."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: not allowed: {reason}")


class WrongState(RemoteError):
    """What is asked for cannot be done as things stand; asking again changes nothing."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")


class Superseded(RemoteError):
    """Another change came first: look again, then decide."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: another change came first: {reason}")


class RemoteFailed(RemoteError):
    """The other side failed while answering."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: failed: {reason}")


class JobError(HeadtailError):
    """A request to the optimizer service that cannot be met."""


class JobNotFound(JobError):
    """The optimizer service keeps no such job."""

    def __init__(self, job: str) -> None:
        super().__init__(f"job '{job[:80]}': not kept here; `optimizer jobs` lists those that are")


class OptimizerUnavailable(JobError):
    """The optimizer service cannot be reached, or is going away."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"optimizer {where}: unavailable: {reason}")


class ConfigError(HeadtailError):
    """A wrong file, key, flag or environment."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")


class DataError(HeadtailError):
    """Missing or malformed data."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")


class SpoolError(HeadtailError):
    """The file of windows under way cannot be used as it is."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"spool {where}: {reason}")


class ExportError(HeadtailError):
    """A model that cannot be cut, exported or bundled."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")


class VerificationFailed(ExportError):
    """Head then tail does not equal the whole model."""

    def __init__(self, where: str, error: float, tolerance: float) -> None:
        super().__init__(
            where,
            f"expected segments equal to the model within {tolerance:g} of its largest output,"
            f" received {error:.3g}",
        )


class PruningError(HeadtailError):
    """A model that cannot be pruned, or not as asked."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")


class SearchError(HeadtailError):
    """A search that has nothing to find."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join("any" if n < 0 else str(n) for n in shape) + ")"
