"""What an exported classifier says of images, in onnxruntime: float32 and int8 alike."""

import numpy as np

from headtail.segment import SessionOptions, load_session
from optimizer.data.dataset import Split
from optimizer.rivals.bench import as_input
from optimizer.scores import Scores, score

BATCH = 100


def score_onnx(content: bytes, split: Split) -> Scores:
    """Return the scores of a model on a split; its only input takes float32 in [0, 1]."""
    session = load_session(content, SessionOptions(), "model")
    name = session.get_inputs()[0].name
    parts = [
        np.asarray(session.run(None, {name: as_input(split.x[i : i + BATCH])})[0])
        for i in range(0, len(split), BATCH)
    ]
    shares = np.concatenate(parts)
    return score(split.y, shares.argmax(axis=1), shares.shape[1])
