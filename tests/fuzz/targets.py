"""The table of fuzzed parsers. Each module `of_*` beside this one adds its own by the decorator `parser`."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Target", "parser", "target", "targets"]

_TARGETS: dict[str, "Target"] = {}


@dataclass(frozen=True)
class Target:
    """A parser, and what is told about its input.

    Attributes:
        name: Of its files in `corpus/` and `found/`.
        run: Hands bytes to the parser and checks what comes of it.
        seeds: Sound inputs to begin with.
        json: Whether these are JSON documents, to be mutated as such, too.
        keras: Whether it imports Keras: its corpus is then read in `tests/keras`.
        longest: The longest input, in bytes.
        words: Tokens of its language; a character stands for a byte.
        slow: Whether a run takes a tenth of a second or more.
        native: Whether a library in C or C++ reads the input, and may end the process or hang: known is a damaged
            HDF5 string data set, which HDF5 reads for ever. The suite then takes the same examples each time.
    """

    name: str
    run: Callable[[bytes], Any]
    seeds: Callable[[], Sequence[bytes]]
    json: bool = False
    keras: bool = False
    longest: int = 4096
    words: tuple[str, ...] = ()
    slow: bool = False
    native: bool = False


def parser(seeds: Callable[[], Sequence[bytes]], **options: Any) -> Callable[[Callable[[bytes], Any]], Any]:
    """Add a parser under the function's name, `_` written as `-`."""

    def add(run: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        name = run.__name__.replace("_", "-")
        assert name not in _TARGETS
        _TARGETS[name] = Target(name, run, seeds, **options)
        return run

    return add


def targets(*, keras: bool = False) -> dict[str, Target]:
    """Those that need no Keras, or those that do, by name."""
    for path in sorted(Path(__file__).parent.glob("of_*.py")):
        if keras or path.stem != "of_keras":
            importlib.import_module(f"{__package__}.{path.stem}")
    return {name: target for name, target in _TARGETS.items() if target.keras == keras}


def target(name: str) -> Target:
    """One of them."""
    return targets().get(name) or targets(keras=True)[name]
