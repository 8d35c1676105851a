"""Damaged bundles, manifests and samples: a BundleError, and nothing else."""

import io
import json
import zipfile
from contextlib import suppress
from math import isfinite
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import strategies as st

from fuzzing import damaged, damaged_tree, fuzz
from headtail.bundle import Bundle, read_bundle, write_bundle
from headtail.bundle.archive import decode_manifest, describe_member, encode_samples
from headtail.bundle.keys import Trust, read_signer
from headtail.bundle.manifest import canonical
from headtail.bundle.profiles import Profiles
from headtail.energy import predict_compute, predict_transmission
from headtail.errors import BundleError
from headtail.operations import Operations
from headtail.profile import read_device_profile, read_link_profile


def check_file(bundle_file: Path, folder: Path, trust: Trust, data: st.DataObject) -> None:
    """Whatever happens to the file, it is read as it was or refused in our words."""
    path = folder / "damaged.bundle"
    path.write_bytes(data.draw(damaged(bundle_file.read_bytes())))
    with suppress(BundleError):
        read_bundle(path, trust)


def check_members(bundle_file: Path, folder: Path, trust: Trust, data: st.DataObject) -> None:
    """Members with other names, contents and compressions."""
    path = folder / "members.bundle"
    with zipfile.ZipFile(bundle_file) as good:
        contents = {name: good.read(name) for name in good.namelist()}
    name = data.draw(st.sampled_from(sorted(contents)))
    contents[data.draw(st.sampled_from([name, "../x", "/x", "a\\b"]))] = data.draw(
        damaged(contents[name])
    )
    method = data.draw(
        st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
    )
    with zipfile.ZipFile(path, "w", method) as archive:
        for each, content in contents.items():
            archive.writestr(each, content)
    # Another spelling of the same signature is as good.
    with suppress(BundleError):
        assert read_bundle(path, trust).manifest.name == "chain"


def check_manifest(bundle: Bundle, data: st.DataObject) -> None:
    """A signed manifest whose values are hostile."""
    tree = data.draw(damaged_tree(json.loads(canonical(bundle.manifest))))
    text = msgspec.json.encode(tree, order="sorted")
    with suppress(BundleError):
        manifest = decode_manifest(text, "fuzzed")
        assert canonical(manifest) == text


def check_profiles(bundle: Bundle, data: st.DataObject) -> None:
    """A signed manifest whose own profiles are hostile; those that are taken can be priced with."""
    device, link = read_device_profile("raspberry-pi-5"), read_link_profile("ethernet")
    own = msgspec.structs.replace(
        bundle.manifest, format_version=3, profiles=Profiles((device,), (link,))
    )
    tree = json.loads(canonical(own))
    tree["profiles"] = data.draw(damaged_tree(tree["profiles"]))
    text = msgspec.json.encode(tree, order="sorted")
    with suppress(BundleError):
        profiles = decode_manifest(text, "fuzzed").profiles
        assert profiles is not None
        for priced in profiles.devices:
            assert isfinite(predict_compute(priced, Operations(1, 1, 1, 1, 1, 1, 1)).joules)
        for sending in profiles.links:
            assert isfinite(predict_transmission(sending, 1 << 30).joules)


def check_manifest_bytes(bundle: Bundle, data: st.DataObject) -> None:
    with suppress(BundleError):
        decode_manifest(data.draw(damaged(canonical(bundle.manifest))), "fuzzed")


def check_samples(
    bundle: Bundle, folder: Path, trust: Trust, key_folder: Path, data: st.DataObject
) -> None:
    """Samples that a trusted key signed, but that are no samples."""
    good = encode_samples(bundle.samples)
    samples = data.draw(damaged(good)) if data.draw(st.booleans()) else repacked(good, data)
    members = [*bundle.segments, samples, bundle.report]
    manifest = msgspec.structs.replace(
        bundle.manifest, samples=describe_member("samples.npz", samples)
    )
    contents = dict(zip((m.path for m in manifest.members), members, strict=True))
    path = folder / "samples.bundle"
    write_bundle(path, manifest, contents, read_signer(key_folder / "test.key"))
    with suppress(BundleError):
        read_bundle(path, trust)


def repacked(good: bytes, data: st.DataObject) -> bytes:
    """Return samples one of whose arrays is damaged inside an intact zip."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as file, zipfile.ZipFile(written, "w") as archive:
        names = file.namelist()
        chosen = data.draw(st.sampled_from(names))
        for name in names:
            content = file.read(name)
            archive.writestr(name, data.draw(damaged(content)) if name == chosen else content)
    return written.getvalue()


test_a_file, test_a_file_for_long = fuzz(check_file, data=st.data())
test_members, test_members_for_long = fuzz(check_members, data=st.data())
test_a_manifest, test_a_manifest_for_long = fuzz(check_manifest, data=st.data())
test_profiles, test_profiles_for_long = fuzz(check_profiles, data=st.data())
test_its_bytes, test_its_bytes_for_long = fuzz(check_manifest_bytes, data=st.data())
test_samples, test_samples_for_long = fuzz(check_samples, data=st.data())


def test_a_bomb_among_the_samples_is_not_unpacked(
    bundle: Bundle, folder: Path, trust: Trust, key_folder: Path
) -> None:
    """A gigabyte of zeros packs into one megabyte; a reader holds 16 MiB of it at most."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("input:x", "output:y"):
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array_header_1_0(
                    entry, {"descr": "<f4", "fortran_order": False, "shape": (4, 16, 2)}
                )
                for _ in range(48):
                    entry.write(bytes(1 << 20))
    samples = written.getvalue()
    manifest = msgspec.structs.replace(
        bundle.manifest, samples=describe_member("samples.npz", samples)
    )
    members = [*bundle.segments, samples, bundle.report]
    contents = dict(zip((m.path for m in manifest.members), members, strict=True))
    path = folder / "bomb.bundle"
    write_bundle(path, manifest, contents, read_signer(key_folder / "test.key"))
    with pytest.raises(BundleError, match="unpacks to more than"):
        read_bundle(path, trust)
