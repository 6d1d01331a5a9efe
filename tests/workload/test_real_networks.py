"""Library models at full size against the classes that run them, counted once by torch.

Parameters and FLOPs of diffusers 0.42.1 and transformers 5.23.0, by torch 2.13.0's
FlopCounterMode on meta tensors.
"""

from __future__ import annotations

import pytest

from accelsim.workload import (
    Conventions,
    Extent,
    Phase,
    flop_split,
    forward,
    prefill,
    validate,
    workload,
)

AS_RUN = Conventions(logits="all", ssd="per_head", causal_conv="padded")

REAL: dict[str, tuple[Phase, int, int]] = {
    "mamba2-130m": (prefill(2, 300), 128989632, 232147943424),
    "clip-g-text": (forward(2, 77), 694659840, 195726213120),
    "umt5-xxl-encoder": (forward(2, 77), 5680910336, 1430860333056),
    "sd15-unet": (forward(1, extent=Extent(512, 768), context_len=77), 859520964, 1295277260800),
    "sd21-unet": (forward(2), 865910724, 4298211491840),
    "sdxl-unet": (forward(2), 2567463684, 13522472796160),
    "animatediff-unet": (forward(2), 1312730244, 35497823764480),
    "sd-vae-decoder": (forward(1, extent=Extent(512, 768)), 83653863, 3797548204032),
    "sd-vae-encoder": (forward(1, extent=Extent(512, 768)), 83653863, 1700757504000),
    "flux-vae-decoder": (forward(1, extent=Extent(512, 768)), 83819683, 3798227484672),
    "pixart-alpha-xl-2": (forward(2), 611349152, 13019047133184),
    "pixart-alpha-xl-2-512": (forward(2), 610856096, 2471971848192),
    "sd3-medium": (
        forward(2, extent=Extent(1024, 768), context_len=154), 2028328000, 11833089589248,
    ),
    "sd3.5-medium": (forward(1), 2243171520, 11249573707776),
    "sd3.5-large": (forward(1), 8056627520, 31121114907648),
    "flux1-dev": (
        forward(2, extent=Extent(1024, 768), context_len=256), 11901408320, 101475274457088,
    ),
    "flux1-schnell": (
        forward(2, extent=Extent(1024, 768), context_len=256), 11891178560, 101475233562624,
    ),
    "cogvideox-2b": (forward(2), 1693783872, 239994622836736),
    "cogvideox-5b": (forward(2), 5570283072, 664395424202752),
}  # fmt: skip
"""Model -> pass, parameters, FLOPs."""


@pytest.mark.parametrize("name", REAL)
def test_a_network_equals_the_real_class(name: str) -> None:
    """To the last parameter and FLOP."""
    phase, parameters, flops = REAL[name]
    graph = validate(workload(name, phase, conventions=AS_RUN))
    assert (graph.parameters, sum(flop_split(graph).values())) == (parameters, flops)
