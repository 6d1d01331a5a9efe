"""The interface of a transform."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from accelsim.config import Spec
from accelsim.workload.graph import Workload

if TYPE_CHECKING:
    from accelsim.workload.stages import Generation

__all__ = ["Transform"]


class Transform(Spec):
    """Changes one pass, or the schedule of a generation; what it leaves alone it returns as is.

    A subclass states its `kind` (the name of its file), the paper whose setting its defaults are,
    and overrides `apply` or `schedule`.  Passes of a generation are built with `apply` done.
    """

    paper: ClassVar[str]
    """Citation of the paper that the defaults are taken from."""

    def apply(self, workload: Workload) -> Workload:
        """Return one pass as the technique leaves it.

        Raises
        ------
        GraphError
            If the technique cannot be applied to such a pass.
        """
        return workload

    def schedule(self, generation: Generation) -> Generation:
        """Return a generation as the technique leaves it.

        Raises
        ------
        ConfigError
            If the technique cannot be applied to such a generation.
        """
        return generation
