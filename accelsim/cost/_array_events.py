"""Event-driven arrays: what spikes make of a layer, in accumulations and membrane updates.

A spike adds a weight to the neurons that it reaches, so work follows from how often inputs spike.
"""

from __future__ import annotations

from typing import Literal

from accelsim.config import Picojoules, Spec
from accelsim.jit import kernel

__all__ = ["Spiking", "accumulations", "updates"]


@kernel
def accumulations(inputs: float, fan_out: float, density: float, steps: int) -> float:
    """Return the accumulations of a layer: each spike of each input reaches `fan_out` neurons.

    Parameters
    ----------
    inputs : float
        Input neurons.
    fan_out : float
        Neurons that one input reaches.
    density : float
        Spikes per input and time step.
    steps : int
        Time steps.

    Examples
    --------
    >>> accumulations(1000.0, 64.0, 0.1, 5)
    32000.0
    """
    return inputs * fan_out * density * steps


@kernel
def updates(neurons: float, fan_in: int, density: float, steps: int, on_event: bool) -> float:
    """Return the membrane updates of a layer.

    Parameters
    ----------
    neurons : float
        Neurons of the layer.
    fan_in : int
        Inputs of one neuron.
    density : float
        Spikes per input and time step, independent of each other.
    steps : int
        Time steps.
    on_event : bool
        A neuron is updated in the steps in which a spike reaches it, once each; otherwise in
        every step.

    Notes
    -----
    A spike reaches a neuron in a step with probability 1 - (1 - density)^fan_in.

    Examples
    --------
    >>> updates(100.0, 1, 0.25, 4, True), updates(100.0, 1, 0.25, 4, False)
    (100.0, 400.0)
    """
    if not on_event:
        return neurons * steps
    return neurons * steps * (1.0 - (1.0 - density) ** fan_in)


class Spiking(Spec):
    """What an event costs an array that works on spikes.

    Examples
    --------
    >>> chip = Spiking(accumulate_energy_pj=0.1, update_energy_pj=1.0, updates="step")
    >>> round(chip.energy_pj(inputs=1000, neurons=100, fan_in=1000, density=0.1, steps=5), 9)
    5500.0
    """

    accumulate_energy_pj: Picojoules
    """Energy of reading a weight and adding it to a membrane potential."""
    update_energy_pj: Picojoules
    """Energy of leak, threshold and reset of one neuron."""
    updates: Literal["step", "event"]
    """Every neuron is updated in each time step, or those that a spike reaches."""

    def energy_pj(
        self, *, inputs: float, neurons: float, fan_in: int, density: float, steps: int
    ) -> float:
        """Return the energy of a layer in which each neuron has `fan_in` of the inputs, in pJ."""
        fan_out = neurons * fan_in / inputs
        added = accumulations(inputs, fan_out, density, steps)
        updated = updates(neurons, fan_in, density, steps, self.updates == "event")
        return float(added * self.accumulate_energy_pj + updated * self.update_energy_pj)
