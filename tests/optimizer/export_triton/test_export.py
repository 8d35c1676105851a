"""A bundle's tails as a model repository."""

import json

import msgspec
import numpy as np
import onnxruntime as ort
import pytest

from headtail.bundle import read_bundle
from headtail.bundle.manifest import crossing_specs
from headtail.errors import ConfigError, ExportError, VerificationFailed
from headtail.tensor import TensorSpec
from headtail.wire import Encoding
from optimizer.cli import main
from optimizer.export_triton import export as module
from optimizer.export_triton.export import LeftOut, export
from optimizer.export_triton.folder import make_config, read_config, write_model
from optimizer.export_triton.graph import tail_graph
from optimizer.export_triton.settings import Backend, Settings

ENCODINGS = [e.value for e in Encoding]


@pytest.fixture(scope="module")
def chain_path(write_test_bundle, tmp_path_factory):
    """Return the batchable bundle's file."""
    return write_test_bundle(tmp_path_factory.mktemp("bundle"), "chain", version="1.10.0")


@pytest.fixture(scope="module")
def chain(chain_path, trust):
    """Return the batchable bundle."""
    return read_bundle(chain_path, trust)


@pytest.fixture(scope="module")
def repository(chain, tmp_path_factory):
    """Return a repository with every tail of it."""
    folder = tmp_path_factory.mktemp("repository")
    export(chain, folder, Settings(preferred=(4, 8)))
    return folder


def test_every_tail_is_there_under_the_name_that_agents_ask_for(repository):
    names = [f"chain-tail{k}-{e}" for k in range(3) for e in ENCODINGS]
    assert sorted(["chain", *names]) == sorted(p.name for p in repository.iterdir())
    assert {"100100000"} == {p.name for p in repository.glob("*/*") if p.name.isdigit()}


def test_float32_graph_is_the_uncut_model_on_other_windows(repository, model_folder):
    """The whole, exported, is the model that was cut, though its segments went through a bundle."""
    windows = np.random.default_rng(2).standard_normal((5, 16, 2)).astype(np.float32)
    answers = []
    for path in (repository / "chain" / "100100000" / "model.onnx",
                 model_folder / "chain" / "whole.onnx"):  # fmt: skip
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        answers.append(session.run(["y"], {"x": windows})[0])
    np.testing.assert_allclose(*answers, rtol=1e-6, atol=1e-7)


def test_configuration_says_what_travels(repository, chain):
    """Shapes without the batch axis; the digest is the bundle's, by version."""
    config = read_config(repository / "chain-tail2-int4" / "config.pbtxt")
    assert ("onnxruntime", 256) == (config.backend, config.max_batch_size)
    kind = config.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
    assert [("a", "TYPE_UINT8", [16]), ("b", "TYPE_UINT8", [12])] == [
        (t.name, kind[t.data_type].name, list(t.dims)) for t in config.input
    ]
    assert [4, 8] == list(config.dynamic_batching.preferred_batch_size)
    assert [1, 4, 8] == [w.batch_size for w in config.model_warmup]
    assert chain.digest == config.parameters["headtail_digest_100100000"].string_value
    files = sorted(p.name for p in (repository / "chain-tail2-int4" / "warmup").iterdir())
    assert ["input0.bin", "input1.bin"] == files
    assert 16 == (repository / "chain-tail2-int4" / "warmup" / "input0.bin").stat().st_size


def test_python_backend_brings_its_program(chain, tmp_path):
    export(chain, tmp_path, Settings(Backend.PYTHON), [1], [Encoding.INT8])
    (model,) = tmp_path.iterdir()
    assert ["model.onnx", "model.py"] == sorted(p.name for p in (model / "100100000").iterdir())
    assert "python" == read_config(model / "config.pbtxt").backend


def test_model_without_a_batch_axis_is_not_batched(write_test_bundle, trust, tmp_path):
    bundle = read_bundle(write_test_bundle(tmp_path, "fixed", version="3"), trust)
    export(bundle, tmp_path / "r", Settings(), [1], [Encoding.INT8])
    config = read_config(tmp_path / "r" / "fixed-tail1-int8" / "config.pbtxt")
    assert 0 == config.max_batch_size
    assert not config.HasField("dynamic_batching")
    assert [1] == [w.batch_size for w in config.model_warmup]


def test_second_version_joins_the_first(repository, write_test_bundle, trust, tmp_path):
    """Both digests stand in the one configuration."""
    export(read_bundle(write_test_bundle(tmp_path, "chain", version="1.9"), trust), tmp_path / "r",
           Settings(), [1], [Encoding.INT8])  # fmt: skip
    export(read_bundle(write_test_bundle(tmp_path, "chain", version="1.10"), trust),
           tmp_path / "r", Settings(), [1], [Encoding.INT8])  # fmt: skip
    folder = tmp_path / "r" / "chain-tail1-int8"
    assert {"10009", "10010"} == {p.name for p in folder.iterdir() if p.name.isdigit()}
    digests = [n for n in read_config(folder / "config.pbtxt").parameters if "digest" in n]
    assert ["headtail_digest_10009", "headtail_digest_10010"] == sorted(digests)


def test_version_of_another_bundle_is_not_overwritten(chain, tmp_path):
    spec = TensorSpec("a", "float32", (-1, 2))
    window = {"a": np.zeros((1, 2), np.float32)}
    config = make_config("m", (spec,), (spec,), window, Settings(), is_batchable=True)
    for _ in range(2):  # the same bundle may be exported again
        write_model(tmp_path, config, 1, "a" * 64, b"", window)
    with pytest.raises(ExportError, match="version 1 is of bundle aaaaaaaaaaaa, this is bbbb"):
        write_model(tmp_path, config, 1, "b" * 64, b"", window)
    wide = TensorSpec("a", "float32", (-1, 3))
    other = make_config("m", (wide,), (spec,), window, Settings(), is_batchable=True)
    with pytest.raises(ExportError, match="other tensors: use another repository"):
        write_model(tmp_path, other, 2, "b" * 64, b"", window)


def test_graph_that_gives_something_else_is_not_written(chain, tmp_path, monkeypatch):
    """Here its scale is twice the right one."""

    def wrong(bundle, point, wire):
        affine = {n: msgspec.structs.replace(a, scale=2 * a.scale) for n, a in wire.affine.items()}
        return tail_graph(bundle, point, msgspec.structs.replace(wire, affine=affine))

    monkeypatch.setattr(module, "tail_graph", wrong)
    with pytest.raises(VerificationFailed, match="chain-tail1-int8 for Triton"):
        export(chain, tmp_path, Settings(), [1], [Encoding.INT8])
    assert not list(tmp_path.iterdir())


def test_tail_that_passes_an_output_on_is_left_out(chain, key_folder, trust, tmp_path):
    """A graph cannot give under a name what it takes under it."""
    manifest = chain.manifest
    outputs = (*manifest.outputs, manifest.segments[0].outputs[0])
    points = []
    for point in manifest.points:
        activation = crossing_specs(manifest.segments, manifest.inputs, outputs, point.index)
        wires = tuple(w for w in point.encodings if w.encoding is Encoding.FLOAT32)
        points.append(msgspec.structs.replace(point, activation=activation, encodings=wires))
    samples = dict(chain.samples.outputs)
    changed = msgspec.structs.replace(manifest, outputs=outputs, points=tuple(points))
    bundle = module.Bundle(
        changed, chain.digest, chain.key_id, chain.size_bytes, chain.segments,
        type(chain.samples)(chain.samples.inputs, samples), chain.report,
    )  # fmt: skip
    with pytest.raises(ExportError, match="output 'a' crosses it"):
        tail_graph(bundle, bundle.manifest.points[1], bundle.manifest.points[1].encodings[0])
    (result,) = export(bundle, tmp_path, Settings(), [1])
    assert isinstance(result, LeftOut)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--point", "3"], "--point: expected 0 to 2, received 3"),
        (["--max-batch", "4", "--preferred", "8"], "--preferred: expected 1 to --max-batch 4"),
        (["--instances", "0"], "--instances: expected at least 1, received 0"),
    ],
)
def test_wrong_flags_are_named(flags, text, chain_path, key_folder, tmp_path, capsys):
    arguments = [str(chain_path), "--trust", str(key_folder / "trust"), "--out", str(tmp_path)]
    assert 1 == main(["export-triton", *arguments, *flags])
    assert text in capsys.readouterr().err


def test_command_says_what_it_wrote(chain_path, key_folder, tmp_path, capsys):
    arguments = [str(chain_path), "--trust", str(key_folder / "trust"), "--out", str(tmp_path)]
    chosen = ["--point", "2", "--encoding", "float32"]
    assert 0 == main(["export-triton", *arguments, *chosen, "--json"])
    (model,) = json.loads(capsys.readouterr().out)["models"]
    found = model["name"], model["version"], model["error"]
    assert ("chain-tail2-float32", 100100000, 0.0) == found
    assert 0 == main(["export-triton", *arguments, *chosen])
    assert "equal to the bit" in capsys.readouterr().out


def test_version_that_triton_cannot_have_is_said_at_once(chain, tmp_path):
    manifest = msgspec.structs.replace(chain.manifest, version="1.20000")
    bundle = module.Bundle(
        manifest, chain.digest, chain.key_id, chain.size_bytes, chain.segments, chain.samples,
        chain.report,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"version 1\.20000: 20000 is over 9999"):
        export(bundle, tmp_path, Settings())
