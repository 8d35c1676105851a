"""The folder of updates: bundles named by digest, the state, and a lock.

```
DIR/updates/
  state.json         which bundle runs, which ran before, which failed
  DIGEST.bundle      the current one, the one before, and none else
  .new-*             one that is being fetched
  shadow/            one that answers are compared with, where it is neither of the two
  lock               held while an agent runs
```
"""

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from edge_agent.update.state import State, read_state, write_state
from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import MAX_BUNDLE_BYTES
from headtail.errors import BundleUnreadable, ConfigError
from headtail.files import sync_folder

FOLDER, LOCK, INCOMING, SUFFIX = "updates", "lock", ".new-", ".bundle"
Write = Callable[[bytes], object]


class Store:
    """The bundles and the state of one agent; one thread at a time uses it."""

    def __init__(self, folder: Path) -> None:
        """Lock the folder, which is made where it is missing, and drop what a crash left.

        Raises:
            ConfigError: If it cannot be written, another agent has it, or its state is unreadable.
        """
        self.folder = folder
        self.wanted = ""
        """Digest of a bundle that is about to be needed."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(str(folder), f"cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.state = read_state(folder)
            self._prune()
        except BlockingIOError as error:
            os.close(self._lock)
            reason = "in use by another agent; name another --state"
            raise ConfigError(str(folder), reason) from error
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def known(self) -> State:
        """The state, of a folder that has one."""
        assert self.state is not None, "`begin` has written one"
        return self.state

    def close(self) -> None:
        """Let another agent have the folder."""
        os.close(self._lock)

    def save(self, state: State) -> None:
        """Make a state last, then remove the bundles that it does not need.

        Raises:
            ConfigError: If it cannot be written; then the state before stands.
        """
        write_state(self.folder, state)
        self.state = state
        self._prune()

    def path(self, digest: str) -> Path:
        """Return where a bundle is, or would be."""
        return self.folder / f"{digest}{SUFFIX}"

    def has(self, digest: str) -> bool:
        """Return whether a bundle is here."""
        return self.path(digest).exists()

    def add(
        self,
        digest: str,
        fill: Callable[[Write], object],
        trust: Trust,
        max_bytes: int = MAX_BUNDLE_BYTES,
    ) -> Bundle:
        """Put a bundle into the folder, unless it is not what it should be.

        It stays for as long as a state needs it, and until one is saved that does not.

        Args:
            digest: What it must be.
            fill: Hands its bytes to the function that it is given; what it raises is passed on.
            trust: Whose signature is accepted.
            max_bytes: That it may have.

        Raises:
            BundleError: If it is not fit to be used, or another.
            ConfigError: If it cannot be written.
        """
        try:
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=INCOMING)
        except OSError as error:
            raise ConfigError(str(self.folder), f"cannot be written: {error.strerror}") from error
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                fill(Bounded(file.write, max_bytes))
                file.flush()
                os.fsync(file.fileno())
            bundle = read_as(temporary, digest, trust)
            temporary.replace(self.path(digest))
            sync_folder(self.folder)
            return bundle
        except OSError as error:
            reason = f"cannot be written: {error.strerror or error}"
            raise ConfigError(str(self.path(digest)), reason) from error
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, digest: str, trust: Trust) -> Bundle:
        """Return a bundle of the folder, checked again.

        Raises:
            BundleError: If it is not there, or not fit to be used.
        """
        return read_as(self.path(digest), digest, trust)

    def _prune(self) -> None:
        """Remove every bundle that the state does not need, and what was being fetched."""
        needed = {self.wanted, *(self.state.files if self.state else ())}
        for path in self.folder.iterdir():
            is_bundle = path.suffix == SUFFIX and path.stem not in needed
            if is_bundle or path.name.startswith((INCOMING, ".state.json.")):
                path.unlink(missing_ok=True)


def read_as(path: Path, digest: str, trust: Trust) -> Bundle:
    """Return a bundle, checked.

    Raises:
        BundleError: If it is not fit to be used, or another than that of `digest`.
    """
    bundle = read_bundle(path, trust)
    if bundle.digest != digest:
        reason = f"expected digest {digest[:12]}, received {bundle.digest[:12]}"
        raise BundleUnreadable(str(path), reason)
    return bundle


class Bounded:
    """Writes no more than it may."""

    def __init__(self, write: Write, max_bytes: int) -> None:
        """Write at most `max_bytes` with `write`."""
        self._write = write
        self._left = self._max_bytes = max_bytes

    def __call__(self, data: bytes) -> None:
        """Write the next bytes.

        Raises:
            BundleUnreadable: If they are too many.
        """
        self._left -= len(data)
        if self._left < 0:
            raise BundleUnreadable("fetched", f"more than {self._max_bytes} bytes")
        self._write(data)
