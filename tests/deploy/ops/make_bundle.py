"""A small program in the place of `optimizer run`: it signs a bundle that was built before.

The recipe's `task` names the bundle to take, how long that lasts, or the file that it waits for,
and how it ends.
"""

import sys
import time
import tomllib
from pathlib import Path

import msgspec

from headtail.bundle import read_bundle, write_bundle
from headtail.bundle.archive import encode_samples
from headtail.bundle.keys import read_signer, read_trust
from optimizer.progress_event import EventWriter, RunFailed, RunFinished


def main(recipe: Path, run: Path, version: str, folder: Path, keys: Path) -> int:
    """Write the bundle into the run's folder under the version that is asked for."""
    read = tomllib.loads(recipe.read_text())
    words = dict(w.split("=") for w in read["task"].split())
    writer = EventWriter(sys.stdout)
    with writer.stage("make"):
        time.sleep(float(words.get("ms", 0)) / 1e3)
        while "until" in words and not Path(words["until"]).exists():
            time.sleep(0.02)
    if "error" in words:
        writer.write(RunFailed(words["error"].replace("_", " ")))
        return 1
    made = read_bundle(folder / f"{words['make']}.bundle", read_trust(keys / "trust"))
    manifest = msgspec.structs.replace(made.manifest, version=version)
    members = {
        segment.member.path: content
        for segment, content in zip(manifest.segments, made.segments, strict=True)
    }
    members |= {"samples.npz": encode_samples(made.samples), "report.json": made.report}
    run.mkdir(exist_ok=True)
    path = run / f"{read['name']}-{version}.bundle"
    write_bundle(path, manifest, members, read_signer(keys / "test.key"))
    (run / "report.json").write_bytes(b'{"name": "chain"}')
    digest = read_bundle(path, read_trust(keys / "trust")).digest
    writer.write(RunFinished(str(path), digest))
    return 0


if __name__ == "__main__":
    recipe_, run_, version_, folder_, keys_ = sys.argv[1:]
    sys.exit(main(Path(recipe_), Path(run_), version_, Path(folder_), Path(keys_)))
