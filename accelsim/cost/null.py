"""A unit that runs every operator in no time, so that any graph can be tried without hardware.

In a file write its kind in quotes, ``kind: "null"``: plain ``null`` is YAML for nothing.
"""

from __future__ import annotations

from typing import Final, Literal

from accelsim.cost._component import Estimate, Setting, Unit, Work

__all__ = ["COMPONENT", "NullUnit"]


class NullUnit(Unit):
    """Every kind, no time, no energy; compulsory bytes still cross the memory interface.

    Examples
    --------
    >>> NullUnit(source="-", memory="hbm").refusal(Work("attention"))
    ''
    """

    kind: Literal["null"] = "null"

    def refusal(self, work: Work) -> str:
        """Return an empty text: nothing is refused."""
        return ""

    def estimate(self, work: Work, setting: Setting) -> Estimate:
        """Return no time, and the compulsory traffic so that bytes stay conserved."""
        return Estimate(
            compute_ps=0,
            weight_traffic_bytes=work.weight_bytes + work.kv_bytes,
            input_traffic_bytes=work.input_bytes,
            output_traffic_bytes=work.output_bytes,
            choice="null",
        )


COMPONENT: Final = NullUnit
