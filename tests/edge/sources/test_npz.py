"""The npz source: row by row, bounded, no pickles."""

import zipfile

import numpy as np
import pytest

from edge_agent.sources.npz import NpzSource
from headtail.errors import DataError, DTypeMismatch, NotFinite, ShapeMismatch


@pytest.fixture
def save(tmp_path):
    """Return a function that saves arrays and returns the file."""

    def write(compressed: bool = False, **arrays):
        path = tmp_path / "w.npz"
        (np.savez_compressed if compressed else np.savez)(path, **arrays)
        return path

    return write


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 64])
def test_frames_are_the_rows(save, intake, take, windows, compressed, limit):
    path = save(compressed, x=windows, y=np.arange(20) % 3)
    frames = take(NpzSource(path, intake), limit)
    assert np.array_equal(windows, [frame.tensors["x"] for frame in frames])
    assert [i % 3 for i in range(20)] == [frame.truth for frame in frames]
    assert list(range(20)) == [frame.sample for frame in frames]


def test_other_numbers_become_the_models(save, intake, take):
    path = save(x=np.ones((2, 16, 2), ">f8"))
    (first, _) = take(NpzSource(path, intake))
    assert (np.float32, None) == (first.tensors["x"].dtype, first.truth)


def test_empty_file_has_no_frames(save, intake, take):
    assert [] == take(NpzSource(save(x=np.zeros((0, 16, 2), "f4")), intake))


def test_model_of_two_inputs_takes_arrays_by_name(save, fixed_intake, take):
    path = save(x=np.zeros((3, 8), "f4"), gain=np.array([[1], [2], [3]], "i4"))
    frames = take(NpzSource(path, fixed_intake))
    assert [1, 2, 3] == [int(frame.tensors["gain"][0]) for frame in frames]
    assert {np.dtype("int64")} == {frame.tensors["gain"].dtype for frame in frames}


@pytest.mark.parametrize(
    ("arrays", "error", "reason"),
    [
        ({"z": np.zeros((2, 16, 2))}, DataError, r"array 'x' is missing; found z"),
        ({"x": np.float32(3)}, DataError, "windows along the first axis, received one number"),
        ({"x": np.array(["a", "b"])}, DataError, "expected numbers, received dtype <U1"),
        ({"x": np.zeros((2, 0))}, DataError, "expected windows of 1 to"),
        ({"x": np.zeros((2, 16, 2)), "y": np.zeros(3, int)}, DataError, "of different lengths"),
        ({"x": np.zeros((2, 16, 2)), "y": np.zeros(2)}, DataError, "'y': expected one whole numb"),
        ({"x": np.zeros((16, 2, 5)).T}, DataError, "expected row-major order"),
        ({"x": np.zeros((2, 16, 3))}, ShapeMismatch, r"row 0 'x': expected shape \(16, 2\)"),
        ({"x": np.full((2, 16, 2), np.inf)}, NotFinite, "row 0: expected finite values"),
        ({"x": np.full((2, 16, 2), 1e300)}, DataError, "row 0: .* finite values, received 32"),
        ({"x": np.zeros((2, 16, 2), complex)}, DataError, "expected numbers, received dtype compl"),
    ],
)
def test_wrong_arrays_are_named(save, intake, take, arrays, error, reason):
    with pytest.raises(error, match=reason):
        take(NpzSource(save(**arrays), intake))


def test_float_for_an_integer_input_is_refused(save, fixed_intake, take):
    path = save(x=np.zeros((3, 8)), gain=np.ones((3, 1)))
    with pytest.raises(DTypeMismatch, match="'gain': expected int64, received float64"):
        take(NpzSource(path, fixed_intake))


def test_pickles_are_never_loaded(tmp_path, intake):
    np.savez(tmp_path / "p.npz", x=np.array([{}], object))
    with pytest.raises(DataError, match="received dtype object"):
        NpzSource(tmp_path / "p.npz", intake)


def test_header_that_claims_more_rows_than_there_are(save, intake, take, windows, tmp_path):
    """A header is a claim; the rows that are there are read before it is found out."""
    data = zipfile.ZipFile(save(x=windows)).read("x.npy")
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as file:
        file.writestr("x.npy", data.replace(b"(20, 16, 2)", b"(9999999, 16, 2)"))
    with pytest.raises(DataError, match="array 'x' row "):
        take(NpzSource(tmp_path / "short.npz", intake))


def test_corrupt_member_is_named(save, intake, take, windows):
    path = save(x=windows)
    data = bytearray(path.read_bytes())
    data[1500] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"array 'x'.*: Bad CRC-32"):
        take(NpzSource(path, intake))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x93NUMPY"])
def test_file_that_is_no_zip_is_named(tmp_path, intake, content):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.npz: no readable \.npz"):
        NpzSource(tmp_path / "bad.npz", intake)


def test_missing_file_is_named(tmp_path, intake):
    with pytest.raises(DataError, match=r"none\.npz: cannot be read: No such file"):
        NpzSource(tmp_path / "none.npz", intake)


def test_member_that_is_no_array_is_named(tmp_path, intake):
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as file:
        file.writestr("x.npy", b"hello, I am text and no array")
    with pytest.raises(DataError, match="array 'x': no readable array"):
        NpzSource(tmp_path / "text.npz", intake)
