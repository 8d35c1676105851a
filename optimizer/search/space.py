"""The genes of a search: of every hidden map its length, channels and kernel, and the input."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from optimizer.network import Multiple, said_kernel
from optimizer.recipe.recipe import NetworkConfig
from optimizer.recipe.search import SearchConfig
from optimizer.search.chromosomes import Chromosomes, Space, Uniform, pick
from optimizer.search.individual import Assessment, Individual
from optimizer.search.length_chain import LengthChain

Gene = TypeVar("Gene", bound=int | float)
Shape = tuple[int, int]
"""Length and channels of an input."""


@dataclass(frozen=True, slots=True)
class NetworkSpace(Space):
    """Genes of which networks are made; lengths that do not go together are repaired."""

    network: NetworkConfig
    """What the genes begin with; kernels stay its own where they are not searched."""
    inputs: tuple[Shape, ...]
    """The inputs that a network may take, its own first; a gene chooses if there are more."""
    kernels: tuple[tuple[Multiple, ...], ...]
    """What each hidden layer's kernel may be, its own first, among which a gene chooses by number;
    empty where kernels are not searched."""
    chain: LengthChain | None
    """None leaves lengths as they come, as the paper does."""
    wanted: Callable[[Individual], bool]

    @property
    def own(self) -> Chromosomes:
        """The genes of the network that is given."""
        network = self.network
        own: list[tuple[int, ...]] = [tuple(network.lengths[1:]), tuple(network.channels[1:])]
        if self.kernels:
            own.append((0,) * len(self.kernels))
        if len(self.inputs) > 1:
            own.append((0,))
        return tuple(own)

    def individual(self, chromosomes: Chromosomes) -> Individual:
        """Return the network of some genes, those that say nothing left out; nothing measured."""
        kernels = _kernels(self.network)
        if self.kernels:
            pairs = zip(self.kernels, chromosomes[2], strict=True)
            kernels = tuple(values[gene] for values, gene in pairs)
        chosen = self._input(chromosomes)
        lengths, channels = [self.inputs[chosen][0]], [self.inputs[chosen][1]]
        multiples: list[Multiple] = [1]
        for length, count, multiple in zip(*chromosomes[:2], kernels, strict=True):
            if length:
                multiples.append(said_kernel(lengths[-1], length, multiple))
                lengths.append(length)
                channels.append(count)
        return Individual(
            tuple(lengths),
            tuple(channels),
            Assessment(False),
            kernels=tuple(multiples) if any(m != 1 for m in multiples) else (),
            input=chosen,
        )

    def draw(self, uniform: Uniform) -> Chromosomes:
        """Return a random individual.

        All of its input, its channels and its kernels are equally likely, and so are all lists of
        lengths that go together with the input and each other. The paper draws each length by
        itself, which with powers of two is the same.
        """
        drawn = Space.draw(self, uniform)
        chain = self.chain
        if chain is None:
            return drawn
        drawn = self._take_usable_input(drawn, chain, uniform)
        lengths = chain.draw(self._first(drawn), uniform)
        return drawn if lengths is None else (lengths, *drawn[1:])

    def repair(self, individual: Chromosomes, uniform: Uniform) -> Chromosomes:
        """Return a bred individual with as few lengths changed as make all go together.

        All such repairs are equally likely; so a length that alone is in the way becomes any of
        its values that fit both neighbours, 0 among them. The paper does not need this.
        """
        chain = self.chain
        if chain is None:
            return individual
        individual = self._take_usable_input(individual, chain, uniform)
        lengths = chain.repair(self._first(individual), individual[0], uniform)
        return individual if lengths is None else (lengths, *individual[1:])

    def is_wanted(self, individual: Chromosomes) -> bool:
        """Return whether the search has no reason to draw another network in its place."""
        return self.wanted(self.individual(individual))

    def _input(self, individual: Chromosomes) -> int:
        return individual[-1][0] if len(self.inputs) > 1 else 0

    def _first(self, individual: Chromosomes) -> int:
        return self.inputs[self._input(individual)][0]

    def _take_usable_input(
        self, individual: Chromosomes, chain: LengthChain, uniform: Uniform
    ) -> Chromosomes:
        """Return it with another input where no lengths go together with its own."""
        if chain.has_ends(self._first(individual)):
            return individual
        usable = [i for i, (length, _) in enumerate(self.inputs) if chain.has_ends(length)]
        return (*individual[:-1], (pick(usable, uniform),)) if usable else individual


def network_space(
    network: NetworkConfig,
    config: SearchConfig,
    others: tuple[Shape, ...] = (),
    wanted: Callable[[Individual], bool] = lambda _: True,
) -> NetworkSpace:
    """Return the space of a search: every gene has the network's own value and those asked for.

    Args:
        network: The network that is given.
        config: What may be in its place.
        others: Inputs besides the network's own, as [[search.inputs]] lists them.
        wanted: Whether a network is worth a place in a generation.
    """
    kernels: tuple[tuple[Multiple, ...], ...] = ()
    if config.kernels:
        kernels = _values(_kernels(network), config.kernels)
    lengths = _values(tuple(network.lengths[1:]), config.lengths)
    chromosomes = [lengths, _values(tuple(network.channels[1:]), config.channels)]
    if kernels:
        chromosomes.append(tuple(tuple(range(len(values))) for values in kernels))
    inputs = ((network.lengths[0], network.channels[0]), *others)
    if others:
        chromosomes.append((tuple(range(len(inputs))),))
    return NetworkSpace(
        tuple(chromosomes),
        network=network,
        inputs=inputs,
        kernels=kernels,
        chain=LengthChain(lengths) if config.repair else None,
        wanted=wanted,
    )


def _values(own: Sequence[Gene], more: Sequence[Gene]) -> tuple[tuple[Gene, ...], ...]:
    return tuple(tuple(dict.fromkeys((gene, *more))) for gene in own)


def _kernels(network: NetworkConfig) -> tuple[Multiple, ...]:
    """Return the kernel of every hidden layer in strides."""
    return tuple(network.kernels[1:]) or (1,) * (len(network.lengths) - 1)
