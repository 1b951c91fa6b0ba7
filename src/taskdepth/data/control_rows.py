"""Which rows a control model is tuned on, given the mixture that the experimental model sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskdepth.data.mixture import Mixture
from taskdepth.data.rows import count
from taskdepth.errors import TaskdepthError
from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.types import Split


class ControlRows:
    """A task's rows of the mixture of all `specs` (`match="data"`), or as many rows of the task as the whole
    mixture has (`match="size"`): the same data, or the same number of steps, as the experimental model.

    They depend on the mixture, and not on which task is asked for, or when.
    """

    def __init__(
        self, mixture: Mixture, source: Source, specs: Sequence[TaskSpec], match: str
    ) -> None:
        self._mixture = mixture
        self._source = source
        self._specs = specs
        self._match = match
        self._drawn: dict[str, list[int]] | None = None

    def draw(
        self, n_rows: Mapping[str, int], specs: Sequence[TaskSpec], seed: int
    ) -> dict[str, list[int]]:
        """Task → row numbers, ascending; none for a task that has no part in the mixture.

        Raises:
            DataError: the mixture cannot be drawn.
        """
        if self._drawn is None:
            n_of_all = {spec.name: self._count(spec) for spec in self._specs}
            draw = self._mixture.draw_each if self._match == "size" else self._mixture.draw
            self._drawn = draw(n_of_all, self._specs, seed)
        return {spec.name: self._drawn.get(spec.name, []) for spec in specs}

    def _count(self, spec: TaskSpec) -> int:
        try:
            return count(self._source, spec, Split.TRAIN)
        except TaskdepthError:
            return 0  # it is told where that task is trained, and does not stop the others
