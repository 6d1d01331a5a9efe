"""Speculative decoding: a draft model proposes tokens, the model verifies them in one pass."""

from __future__ import annotations

import math
from typing import ClassVar, Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Fraction, Positive
from accelsim.errors import ConfigError
from accelsim.workload.phase import SequenceGroup, decode, mixed
from accelsim.workload.stages import Generation, Origin, Stage, build_stage
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "Speculative"]


class Speculative(Transform):
    """Replaces decoding steps by rounds of drafting and verification.

    Notes
    -----
    A round drafts `length` tokens one by one and verifies them, or `tree` tokens of a tree, in
    one pass.  It makes ``(1 - a ** (length + 1)) / (1 - a)`` tokens at an acceptance rate a
    (arXiv 2211.17192, equation 1), or `accepted` + 1 as measured; batches run in step.
    """

    paper: ClassVar[str] = "Speculative decoding, arXiv 2211.17192: 5 drafted tokens"

    kind: Literal["speculative"] = "speculative"
    draft: str
    """Name of the draft model, of the same vocabulary."""
    length: Count = 5
    """Tokens that are drafted per round, one after the other."""
    tree: Count | None = None
    """Tokens that are verified at once; the drafted ones where absent."""
    acceptance: Fraction = 0.8
    """Chance that a drafted token is accepted, each independently."""
    accepted: Positive | None = None
    """Drafted tokens accepted per round as measured, in place of `acceptance`."""

    @model_validator(mode="after")
    def _possible(self) -> Speculative:
        if self.accepted is not None and self.accepted > self.length:
            raise PydanticCustomError(
                "accepted", "accepted {a} is more than the {n} tokens drafted",
                {"a": self.accepted, "n": self.length},
            )  # fmt: skip
        return self

    def tokens_per_round(self) -> float:
        """Return the tokens that a round makes.

        Examples
        --------
        >>> round(Speculative(draft="gpt2", length=4, acceptance=0.8).tokens_per_round(), 3)
        3.362
        """
        if self.accepted is not None:
            return self.accepted + 1
        a = self.acceptance
        return float(self.length + 1) if a == 1 else (1 - a ** (self.length + 1)) / (1 - a)

    def schedule(self, generation: Generation) -> Generation:
        """Return the generation by rounds.

        Raises
        ------
        ConfigError
            If it decodes nothing.
        """
        from accelsim.workload.model import load_model

        if not generation.named("decode"):
            raise ConfigError(f"`{generation.name}` decodes no tokens", path="speculative")
        draft = load_model(self.draft)
        stages: list[Stage] = []
        for stage in generation.stages:
            origin = stage.origin
            if stage.name.partition(".")[0] != "decode" or origin is None:
                stages.append(stage)
                if stage.name == "prefill" and origin is not None:
                    small = Origin(draft, origin.phase, origin.conventions)
                    stages.append(build_stage("draft.prefill", small, 1))
                continue
            stages += self._rounds(stage, origin, draft)
        return generation.with_stages(*stages)

    def _rounds(self, stage: Stage, origin: Origin, draft: object) -> list[Stage]:
        group, suffix = origin.phase.groups[0], stage.name.partition(".")[2]
        rounds = math.ceil(stage.times / self.tokens_per_round())
        small = origin._replace(model=draft, phase=decode(group.count, group.past_len))  # type: ignore[arg-type]
        verified = SequenceGroup(group.count, (self.tree or self.length) + 1, group.past_len)
        return [
            build_stage(f"draft.{suffix}", small, rounds * self.length),
            build_stage(f"verify.{suffix}", origin._replace(phase=mixed([verified])), rounds),
        ]


TRANSFORM: Final = Speculative
