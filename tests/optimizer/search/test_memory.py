"""Memory of a search: it does not grow with the number of networks that were trained."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from paper_profiles import PROFILES
from search_case import Quiet

from headtail.wire import Encoding
from optimizer.candidate import Candidate
from optimizer.inputs import Inputs
from optimizer.labelled import Labelled
from optimizer.partition import Bounds
from optimizer.recipe.recipe import NetworkConfig, Recipe, TrainConfig
from optimizer.recipe.search import SearchConfig
from optimizer.run.short_training import ShortTraining
from optimizer.search.genome_cost import Terms, assess
from optimizer.search.record import GenerationRecord
from optimizer.search.search import Problem, search
from optimizer.search.training import Scores

MIB = 1 << 20
NETWORKS = 1000


def resident_bytes() -> int:
    """Return what this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


class Watching(Quiet):
    """A watcher that looks at the memory after every generation, and keeps no more than that."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def individual(self, generation: int, individual: object) -> None:
        """Let it go."""

    def generation(self, record: GenerationRecord) -> None:
        """Keep how many are trained, and the memory."""
        self.seen.append((record.trained, resident_bytes()))


def test_memory_stays_over_a_thousand_trainings() -> None:
    """Real trainings of real networks, in this process: under 8 MiB more from the 200th on."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 192)
    x = (rng.standard_normal((192, 64, 1)) + y[:, None, None]).astype(np.float32)
    data = Labelled(x, y)
    network = NetworkConfig((64, 32, 32, 16, 8), (1, 1, 1, 1, 1))
    config = SearchConfig(
        channels=(1, 2, 3, 4), lengths=(64, 32, 16, 8, 4, 0), kernels=(0.5, 1, 2, 3),
        population=40, generations=29, epochs=1, windows=192,
    )  # fmt: skip
    recipe = Recipe("m", "1", "t", network, search=config, train=TrainConfig(batch=64))
    trainer = ShortTraining(recipe, [Inputs(data, data, data)], 3)
    terms = Terms(PROFILES, Bounds(), "edge_energy", (Encoding.FLOAT32,))

    def evaluate(candidates: Sequence[Candidate]) -> Iterator[tuple[int, Scores]]:
        return ((i, trainer.scores(candidate)) for i, candidate in enumerate(candidates))

    watching = Watching()
    problem = Problem(network, 3, config, lambda genome: assess(genome, terms), evaluate)
    record = search(problem, 1, watching)
    assert record.generations[-1].trained > NETWORKS
    early = next(held for trained, held in watching.seen if trained >= 200)
    late = watching.seen[-1][1]
    assert late - early < 8 * MIB, [(n, held // MIB) for n, held in watching.seen]
    assert msgspec.json.encode(record.winner)
