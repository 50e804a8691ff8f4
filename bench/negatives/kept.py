"""What a sampler makes before a step, kept beside the checkpoints of its run until one of them has it."""

from __future__ import annotations

from bench.cache import Cache, Entry
from bench.errors import UserError
from bench.negatives.context import NegativesContext


class KeptSteps:
    """Entries of one ``kind``, a step each. ``cache`` is where they are made, under the name of :meth:`begin`."""

    def __init__(self, kind: str, context: NegativesContext) -> None:
        self.kind, self.place, self.world = kind, context.scratch, context.world
        self.cache = Cache(context.scratch, required=True)

    def begin(self, step: int) -> str:
        """The name of what is about to be made; that of a process that was killed before it saved the step is gone."""
        if self.world.first:
            self.cache.remove(self._name(step))
        return self._name(step)

    def get(self, step: int) -> Entry:
        """What was made before a step that a checkpoint has. Raises :class:`UserError` where it is lost."""
        found = self.cache.find(self._name(step))
        if found is None:
            raise UserError(f"{self.place / self._name(step)} is missing or damaged; --force trains from the start")
        return found

    def only(self, step: int) -> None:
        """Remove what was made before other steps."""
        for path in self.place.glob(f"{self.kind}-*"):
            if path.name != self._name(step):
                self.cache.remove(path.name)

    def _name(self, step: int) -> str:
        return f"{self.kind}-{step}"
