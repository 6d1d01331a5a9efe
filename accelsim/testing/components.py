"""The contract of compute units, as a test class to inherit.

A new unit kind is tested by a class that says which unit, in which setting, on which work; the
laws are here, so that units outside this repository are held to them too.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from accelsim.cost import PICOSECONDS_PER_SECOND, Estimate, Setting, Unit, Work

__all__ = ["KernelCall", "UnitContract", "grown"]

KernelCall = tuple[Callable[..., Any], tuple[Any, ...]]
"""A compiled kernel and arguments for it."""

# The operands of C[m,n] = A[m,k] B[k,n] that each dimension enlarges.
_TOUCHED: Final = {
    "m": ("input_bytes", "output_bytes"),
    "n": ("weight_bytes", "kv_bytes", "output_bytes"),
    "k": ("input_bytes", "weight_bytes", "kv_bytes"),
}


def grown(work: Work, dimension: str, times: int) -> Work:
    """Return the work with a dimension `times` as large: iteration space, bytes and operations.

    Parameters
    ----------
    work : Work
        Any; rows and columns of a work that is no product are ``m`` and ``n``.
    dimension : {"m", "n", "k"}
        Dimension to enlarge.
    times : int
        Factor.

    Examples
    --------
    >>> grown(Work("matmul", m=2, n=3, k=4, input_bytes=16, macs=24), "m", 2).input_bytes
    32
    """
    product = work.kind == "matmul"
    touched = _TOUCHED[dimension] if product else ("input_bytes", "output_bytes")
    changed = {name: getattr(work, name) * times for name in touched}
    return replace(
        work,
        macs=work.macs * times,
        vector_ops=work.vector_ops * times,
        **{dimension: getattr(work, dimension) * times},
        **changed,
    )


class UnitContract:
    """Laws of a compute unit; inherit, name the class ``Test...`` and say what to try.

    Examples
    --------
    A test file of a unit kind of your own::

        class TestMyUnit(UnitContract):
            def unit(self): return MyUnit(source="data sheet", memory="hbm", ...)
            def setting(self): return Setting(memory=InfiniteMemory(source="-"), ...)
            def works(self): return [Work("matmul", m=64, n=64, k=64, ...)]
    """

    growth: Sequence[int] = (2, 3)
    """Factors by which dimensions grow in the test of monotony."""
    slack: float = 0.0
    """Relative drop of time under growth that the kind allows itself (wave quantisation)."""

    @abstractmethod
    def unit(self) -> Unit:
        """Return the unit under test."""

    @abstractmethod
    def setting(self) -> Setting:
        """Return the setting it estimates in."""

    @abstractmethod
    def works(self) -> Sequence[Work]:
        """Return works that the unit accepts, with their bytes and operations filled in."""

    def refused(self) -> Sequence[Work]:
        """Return works that the unit must refuse."""
        return ()

    def peak_macs_per_s(self, work: Work) -> float:
        """Return the unit's peak rate on this work's format; infinite where it has no meaning."""
        return math.inf

    def grown_dimensions(self, work: Work) -> Sequence[str]:
        """Return the dimensions along which this work may grow."""
        if work.kind == "attention":
            return ()
        return ("m", "n", "k") if work.kind == "matmul" else ("m", "n")

    def kernels(self) -> Sequence[KernelCall]:
        """Return the unit's compiled kernels with arguments to try them on."""
        return ()

    def _estimates(self) -> Iterator[tuple[Work, Estimate]]:
        unit, setting = self.unit(), self.setting()
        for work in self.works():
            yield work, unit.estimate(work, setting)

    def test_accepts_what_it_should(self) -> None:
        """No work of the list is refused."""
        unit = self.unit()
        assert [unit.refusal(work) for work in self.works()] == [""] * len(self.works())

    def test_refuses_with_a_reason(self) -> None:
        """A refusal says why."""
        unit = self.unit()
        for work in self.refused():
            assert unit.refusal(work), work

    def test_never_below_its_roofline(self) -> None:
        """No estimate takes less time than its MACs at the unit's peak, or than its own ideal."""
        for work, estimate in self._estimates():
            # One picosecond for the rounding of the time.
            least = work.macs / self.peak_macs_per_s(work) * PICOSECONDS_PER_SECOND
            assert estimate.compute_ps + 1 >= least, work
            assert estimate.compute_ps + 1 >= estimate.ideal_ps, work

    def test_is_monotone(self) -> None:
        """More rows, columns or summed terms never take less time."""
        unit, setting = self.unit(), self.setting()
        for work in self.works():
            before = unit.estimate(work, setting).compute_ps
            for dimension in self.grown_dimensions(work):
                for times in self.growth:
                    after = unit.estimate(grown(work, dimension, times), setting).compute_ps
                    assert after >= before * (1 - self.slack), (work, dimension, times)

    def test_moves_compulsory_bytes(self) -> None:
        """Every operand crosses the memory interface at least once, as whole bytes."""
        for work, estimate in self._estimates():
            assert estimate.weight_traffic_bytes >= work.weight_bytes + work.kv_bytes, work
            assert estimate.input_traffic_bytes >= work.input_bytes, work
            assert estimate.output_traffic_bytes >= work.output_bytes, work
            moved = (
                estimate.weight_traffic_bytes,
                estimate.input_traffic_bytes,
                estimate.output_traffic_bytes,
            )
            assert all(type(size) is int for size in moved), work

    def test_is_deterministic(self) -> None:
        """The same work gives the same estimate, from this unit and from an equal one."""
        unit, setting = self.unit(), self.setting()
        again = unit.model_copy(deep=True)
        for work in self.works():
            first = unit.estimate(work, setting)
            assert unit.estimate(work, setting) == first
            assert again.estimate(work, setting) == first

    def test_estimates_are_well_formed(self) -> None:
        """Times are whole, nothing is negative, there is at least one tile."""
        for work, estimate in self._estimates():
            assert type(estimate.compute_ps) is int, work
            assert type(estimate.launch_ps) is int, work
            assert estimate.compute_ps >= 0, work
            assert estimate.launch_ps >= 0, work
            assert type(estimate.tiles) is int, work
            assert estimate.tiles >= 1, work
            energies = estimate.energy_pj.values()
            assert all(math.isfinite(pj) and pj >= 0 for pj in energies), work

    def test_has_an_area_and_a_standing_power(self) -> None:
        """Area and leakage at the device's node are finite and not negative."""
        unit, node = self.unit(), self.setting().technology_nm
        for value in (unit.area_mm2(node), unit.leakage_w(node)):
            assert math.isfinite(value)
            assert value >= 0

    def test_compiled_equals_interpreted(self) -> None:
        """A kernel computes what its Python source says."""
        for kernel, arguments in self.kernels():
            source: Any = kernel
            _same(kernel(*arguments), source.py_func(*arguments))


def _same(compiled: Any, interpreted: Any) -> None:
    if isinstance(interpreted, tuple):
        assert len(compiled) == len(interpreted)
        for one, other in zip(compiled, interpreted, strict=True):
            _same(one, other)
    else:
        # A kernel may contract a * b + c; anything else rounds alike.
        assert math.isclose(compiled, interpreted, rel_tol=1e-12), (compiled, interpreted)
