"""One step by parts: this worker's pieces, the exchange with the other workers, and the end of the step."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.data.feeding.pieces import bounds
from tailfit.training.divisor import rows_of
from tailfit.training.parts.created import Created
from tailfit.training.parts.programs import Programs, Rows
from tailfit.training.parts.state import Seeds
from tailfit.training.parts.tree import Node, combined, largest_nodes
from tailfit.training.parts.vectors import Vectors
from tailfit.training.step_runner import Runner
from tailfit.training.workers import Exchange, exchange

__all__ = ["PiecesOfBatch", "Stepper", "cut"]


class PiecesOfBatch:
    """This worker's pieces of a batch.

    Args:
        rows: Number of samples of the global batch.
        pieces: The pieces of this worker, in order; None for one without samples.
        stand_in: A sample of the batch, for a worker without samples: it computes, but does not count.
    """

    def __init__(self, rows: int, pieces: Sequence[Any], stand_in: Any = None) -> None:
        self.rows, self.pieces, self.stand_in = rows, list(pieces), stand_in


def cut(batch: Any, parts: int) -> PiecesOfBatch:
    """Cut a whole batch into its pieces.

    >>> [piece if piece is None else piece[0].tolist() for piece in cut((np.arange(3),), 4).pieces]
    [None, [0], [1], [2]]
    """
    rows = int(rows_of(batch))

    def piece(low: int, high: int) -> Any:
        return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[low:high], batch)

    limits = [bounds(rows, number, parts) for number in range(parts)]
    return PiecesOfBatch(rows, [piece(low, high) if low < high else None for low, high in limits])


class Stepper:
    """The training and evaluation of a model by parts.

    Args:
        model: Compiled model.
        runner: Its steps.
        parts: Number of pieces of a batch.
        needs_x: Whether the metrics need the inputs.
    """

    def __init__(self, model: Any, runner: Runner, parts: int, *, needs_x: bool) -> None:
        self._model, self._runner, self.parts, self._needs_x = model, runner, parts, needs_x
        self._programs: Programs | None = None
        self._variables: list[int] = []  # IDs of the trainable variables that the programs are compiled for

    def train(self, batch: PiecesOfBatch, workers: Exchange | None = None) -> Any:
        """Train on a batch, and return the logs."""
        workers = workers or exchange()
        programs = self._complete_programs(batch)
        seeds = Seeds(programs.state.seeds)
        masses = self._masses(programs, seeds, batch, workers)
        found: dict[Node, Vectors | None] = {}
        rows: list[Rows] = []
        vectors: Vectors = []
        for number, piece, size in self._computed(batch, workers):
            share = _scalar(max(size, 1) / batch.rows)
            vectors, own = programs.piece(piece, ops.convert_to_tensor(seeds.begin_piece(number)), share, masses)
            found[number, number + 1] = vectors if size else None
            rows.append(_first_rows(own, size))
        nodes = self._nodes(programs, batch.rows, found, workers)
        zeros = [ops.zeros_like(vector) for vector in vectors]
        root, whole = self._exchanged(programs, batch.rows, nodes, zeros, _joined_rows(rows), workers)
        logs = programs.finish(root, _scalar(batch.rows), whole)
        seeds.end()
        return logs

    def evaluate(self, batch: PiecesOfBatch) -> Any:
        """Evaluate a batch, and return the logs."""
        workers, programs = exchange(), self._current_programs()
        seeds = Seeds(programs.state.seeds)
        rows: list[Rows] = []
        penalties = np.zeros(self._pieces_each(workers), np.float32)
        low = workers.place.rank * len(penalties)
        for number, piece, size in self._computed(batch, workers):
            penalty, own = programs.evaluate(piece, ops.convert_to_tensor(seeds.begin_piece(number)))
            penalties[number - low] = _numpy(penalty)[0] * np.float32(size / batch.rows)
            rows.append(_first_rows(own, size))
        seeds.restore()
        every, whole = self._rows_of_all(batch.rows, [ops.convert_to_tensor(penalties)], _joined_rows(rows), workers)
        total = np.float32(0)
        for value in np.concatenate([_numpy(own[0]) for own in every]):
            total += value
        return programs.finish_evaluation(_scalar(total), _scalar(batch.rows), whole)

    # -- pieces ----------------------------------------------------------------------------------------

    def _pieces_each(self, workers: Exchange) -> int:
        return self.parts // workers.place.world

    def _computed(self, batch: PiecesOfBatch, workers: Exchange) -> list[tuple[int, Any, int]]:
        """Return the index, the data and the number of counted samples of each piece that this worker computes."""
        low = workers.place.rank * self._pieces_each(workers)
        pieces = [
            (number, _own_arrays(piece), int(rows_of(piece)))
            for number, piece in enumerate(batch.pieces, low)
            if piece is not None
        ]
        return pieces or [(low, _own_arrays(batch.stand_in), 0)]

    def _masses(self, programs: Programs, seeds: Seeds, batch: PiecesOfBatch, workers: Exchange) -> Any:
        """Return the sum of weights of the batch for each target, in the order of pieces; None if it is not needed."""
        computed = self._computed(batch, workers)
        weights = keras.utils.unpack_x_y_sample_weight(computed[0][1])[2]
        if not programs.counts_by_weights or weights is None:
            return None
        each = self._pieces_each(workers)
        sums: Any = None
        for number, piece, size in computed:
            own = _numpy(programs.masses(piece, ops.convert_to_tensor(seeds.begin_piece(number))))
            sums = np.zeros((each, len(own)), np.float32) if sums is None else sums
            sums[number % each] = own if size else 0
        total = np.zeros(sums.shape[1], np.float32)
        for part in workers.gather(ops.convert_to_tensor(sums)):
            for own in _numpy(part):
                total = total + own
        return ops.convert_to_tensor(total)

    def _complete_programs(self, batch: PiecesOfBatch) -> Programs:
        """Return the programs; before the first step, run a piece that does not count, to create missing variables."""
        if self._programs is not None:
            return self._current_programs()
        programs = self._current_programs()
        optimizer = self._model.optimizer
        if optimizer is not None and not optimizer.built and self._model.trainable_variables:
            optimizer.build(self._model.trainable_variables)
        seeds = Seeds(programs.state.seeds)
        alone = Exchange()
        first = next((piece for piece in batch.pieces if piece is not None), batch.stand_in)
        with Created() as created:
            trial = PiecesOfBatch(int(rows_of(first)), [first] + [None] * (self.parts - 1))
            masses = self._masses(programs, seeds, trial, alone)
            (_, piece, _), *_ = self._computed(trial, alone)
            programs.piece(piece, ops.convert_to_tensor(seeds.begin_piece(0)), _scalar(1), masses)
        seeds.restore()
        if created.values:
            for variable, value in created.values:
                variable.assign(value)
            self._programs = None
        return self._current_programs()

    def _current_programs(self) -> Programs:
        """Return the programs, built anew if the trainable variables have changed."""
        variables = [id(variable) for variable in self._model.trainable_variables]
        if self._programs is None or variables != self._variables:  # a layer was frozen, say
            self._variables = variables
            self._programs = Programs(self._model, self._runner, needs_x=self._needs_x)
        return self._programs

    # -- combination -----------------------------------------------------------------------------------

    def _filled(self, rows: int, node: Node) -> int:
        """Return the number of pieces with samples below a node."""
        limits = [bounds(rows, piece, self.parts) for piece in range(*node)]
        return sum(low < high for low, high in limits)

    def _combined(self, programs: Programs, rows: int, node: Node, known: dict[Node, Vectors | None]) -> Vectors | None:
        def add(one: Node, left: Vectors, other: Node, right: Vectors) -> Vectors:
            counts = [_scalar(self._filled(rows, part)) for part in (one, other)]
            summed: Vectors = programs.add(left, counts[0], right, counts[1])
            return summed

        vectors: Vectors | None = combined(node, known, add)
        return vectors

    def _nodes(
        self, programs: Programs, rows: int, found: dict[Node, Vectors | None], workers: Exchange
    ) -> dict[Node, Vectors | None]:
        """Return the largest nodes over this worker's pieces."""
        each = self._pieces_each(workers)
        low = workers.place.rank * each
        known = {(piece, piece + 1): found.get((piece, piece + 1)) for piece in range(low, low + each)}
        return {
            node: self._combined(programs, rows, node, known) for node in largest_nodes(low, low + each, self.parts)
        }

    def _exchanged(
        self,
        programs: Programs,
        rows: int,
        nodes: dict[Node, Vectors | None],
        zeros: Vectors,
        own_rows: Rows,
        workers: Exchange,
    ) -> tuple[Vectors, Rows]:
        """Return the root of the tree, and the rows of all workers."""
        world, each = workers.place.world, self._pieces_each(workers)
        if world == 1:
            whole_batch = nodes[0, self.parts]
            return (zeros if whole_batch is None else whole_batch), own_rows
        if not workers.exact:
            summed = self._summed(programs, rows, nodes, zeros, workers)
            return summed, self._rows_of_all(rows, [], own_rows, workers)[1]
        every = [largest_nodes(rank * each, (rank + 1) * each, self.parts) for rank in range(world)]
        most = max(map(len, every))
        sent = [zeros if vectors is None else vectors for vectors in nodes.values()]
        sent += [zeros] * (most - len(sent))
        received, whole = self._rows_of_all(
            rows, [ops.stack(parts) for parts in zip(*sent, strict=True)], own_rows, workers
        )
        known = {
            node: [stacked[index] for stacked in own] if self._filled(rows, node) else None
            for own, of_rank in zip(received, every, strict=True)
            for index, node in enumerate(of_rank)
        }
        root = self._combined(programs, rows, (0, self.parts), known)
        return (zeros if root is None else root), whole

    def _summed(
        self, programs: Programs, rows: int, nodes: dict[Node, Vectors | None], zeros: Vectors, workers: Exchange
    ) -> Vectors:
        """Return the root of the tree up to rounding, with one all-reduce for each dtype."""
        counts = [self._filled(rows, node) for node, vectors in nodes.items() if vectors is not None]
        every = self._filled(rows, (0, self.parts))
        filled = [vectors for vectors in nodes.values() if vectors is not None]
        result = []
        for index, dtype in enumerate(programs.layout.dtypes):
            size, _ = programs.layout.sizes(dtype)
            own = zeros[index]
            for vectors, count in zip(filled, counts, strict=True):
                averaged = vectors[index][size:] * ops.cast(count / every, dtype)
                own = own + ops.concatenate([vectors[index][:size], averaged])
            result.append(workers.total(own))
        return result

    def _rows_of_all(
        self, rows: int, arrays: list[Any], own_rows: Rows, workers: Exchange
    ) -> tuple[list[list[Any]], Rows]:
        """Return the arrays of all workers by rank, and their rows in one array each, in the order of the batch."""
        world = workers.place.world
        if world == 1:
            return [arrays], own_rows
        leaves = [leaf for leaf in keras.tree.flatten(own_rows) if leaf is not None]
        most = -(-rows // world)
        received = workers.gather_all([*arrays, *(_padded(leaf, most) for leaf in leaves)])
        sizes = [high - low for low, high in (bounds(rows, rank, world) for rank in range(world))]
        merged = iter(
            [
                ops.concatenate([own[len(arrays) + index][:size] for own, size in zip(received, sizes, strict=True)])
                for index in range(len(leaves))
            ]
        )
        whole = keras.tree.map_structure(lambda leaf: None if leaf is None else next(merged), own_rows)
        return [own[: len(arrays)] for own in received], whole


def _own_arrays(data: Any) -> Any:
    """Return tensors with memory of their own: slices of a batch may start at any address, and results depend on it."""
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else ops.copy(ops.convert_to_tensor(leaf)), tuple(data)
    )


def _first_rows(rows: Rows, size: int) -> Rows:
    return rows if size else keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[:0], rows)


def _joined_rows(pieces: list[Rows]) -> Rows:
    if len(pieces) == 1:
        return pieces[0]
    return keras.tree.map_structure(lambda *parts: None if parts[0] is None else ops.concatenate(parts), *pieces)


def _padded(leaf: Any, rows: int) -> Any:
    missing = rows - int(leaf.shape[0])
    return ops.concatenate([leaf, ops.zeros((missing, *leaf.shape[1:]), dtype=leaf.dtype)]) if missing else leaf


def _scalar(value: Any) -> Any:
    return ops.convert_to_tensor(np.float32(value))


def _numpy(array: Any) -> Any:
    return np.asarray(ops.convert_to_numpy(array))
