"""Load the data that a recipe names."""

from optimizer.data.bonn import load_bonn
from optimizer.data.dataset import DataConfig, Dataset, Progress, silent
from optimizer.data.npz import load_npz
from optimizer.data.synthetic import load_synthetic


def load(config: DataConfig, progress: Progress = silent) -> Dataset:
    """Load a data set.

    Args:
        config: Source, protocol, seed.
        progress: Told how far it is, where that takes seconds.

    Raises:
        DataError: If data is missing or broken; the text names the file.
    """
    if config.source == "npz":
        return load_npz(config)
    if config.source == "synthetic":
        return load_synthetic(config, progress)
    if config.source == "bonn":
        return load_bonn(config, progress)
    if config.source == "chbmit":
        from optimizer.data.chbmit import load_chbmit

        return load_chbmit(config, progress)
    if config.source in {"images", "cifar10_small", "deepweeds"}:
        return _load_images(config, progress)
    return _load_ecg(config, progress)


def _load_images(config: DataConfig, progress: Progress) -> Dataset:
    # Pillow is imported when used.
    if config.source == "deepweeds":
        from optimizer.data.deepweeds import load_deepweeds

        return load_deepweeds(config, progress)
    from optimizer.data.images import load_images

    return load_images(config, progress)


def _load_ecg(config: DataConfig, progress: Progress) -> Dataset:
    # wfdb brings pandas and SciPy: a second of import that only MIT-BIH needs.
    from optimizer.data.mitbih import find_folder, load_mitbih

    if config.source == "auto" and config.path is None:
        folder = find_folder(config)
        if folder is None or not (folder / "100.hea").is_file():
            return load_synthetic(config, progress)
    return load_mitbih(config, progress)
