"""What evaluates the networks of a search: this process, others beside it, or a Ray cluster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from typing import Protocol

from headtail.errors import ConfigError
from optimizer.executor.item import Item, Result
from optimizer.executor.local import LocalExecutor
from optimizer.recipe.executor import ExecutorConfig


class Executor(Protocol):
    """Evaluates items, somewhere."""

    def run(
        self, evaluate: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the index and the result of every item, each once, as they come.

        The function is brought to the workers once, with the arrays it carries, and stays there for
        the next run with the same one.

        Raises:
            HeadtailError: As `evaluate` raised it.
        """

    def close(self) -> None:
        """End what was started."""


class SerialExecutor:
    """One item after another in this process, in order."""

    def run(
        self, evaluate: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the index and the result of every item, in order."""
        for index, item in enumerate(items):
            yield index, evaluate(item)

    def close(self) -> None:
        """Nothing was started."""


def open_executor(config: ExecutorConfig) -> AbstractContextManager[Executor]:
    """Return the executor that the recipe asks for; leaving its context ends what it started.

    Raises:
        ConfigError: If Ray is asked for and is not installed, or its cluster cannot be reached.
    """
    executor: Executor
    if config.kind == "serial":
        executor = SerialExecutor()
    elif config.kind == "local":
        executor = LocalExecutor(config.workers, config.recycle)
    else:
        try:
            from optimizer.executor.ray import RayExecutor
        except ModuleNotFoundError as error:
            if error.name != "ray":
                raise
            raise ConfigError(
                "[executor]", "kind 'ray' needs Ray: pip install 'headtail[ray]'"
            ) from error
        executor = RayExecutor(config.workers, config.recycle, config.address)
    return closing(executor)
