"""Where chunks lie in host memory, as the scheduler tells the worker; pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alise_vllm.tier.levels import Level
from alise_vllm.tier.store import Chunk, Layout


@dataclass(frozen=True, slots=True)
class Places:
    """Chunks in the order of the device's blocks, and what to do before they are copied.

    Attributes:
        levels: How each is packed.
        extents: Where each lies.
        first: How many moves there were before these, since the start.
        moves: From, to, one extent each, in order; to be made before anything else, once.
        end: No extent from here on is in use.
    """

    levels: tuple[Level, ...]
    extents: tuple[tuple[int, ...], ...]
    first: int
    moves: tuple[tuple[int, int], ...]
    end: int

    @classmethod
    def of(cls, chunks: Sequence[Chunk], layout: Layout) -> "Places":
        """As the books say now; they may say something else later."""
        return cls(
            tuple(chunk.level for chunk in chunks),
            tuple(tuple(chunk.extents) for chunk in chunks),
            layout.first,
            tuple(layout.moves),
            layout.end,
        )

    def new_moves(self, made: int) -> Sequence[tuple[int, int]]:
        """Those that a worker still has to make which has made so many."""
        return self.moves[max(0, made - self.first) :]

    def by_level(self) -> Iterator[tuple[Level, list[int]]]:
        """The levels that occur, and the positions of their chunks."""
        for level in Level:
            members = [place for place, own in enumerate(self.levels) if own is level]
            if members:
                yield level, members
