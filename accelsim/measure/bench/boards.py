"""Names of boards: what drivers call a GPU, and what the measured tables call it.

A name that is not listed is kept as the driver gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["BOARDS", "board_name"]

BOARDS: Final[Mapping[str, str]] = {
    # Names as CUDA's device properties give them -> names of the measured tables.
    "NVIDIA H200": "H200-SXM-141GB",
    "NVIDIA H100 80GB HBM3": "H100-SXM5-80GB",
    "NVIDIA H100 PCIe": "H100-PCIe-80GB",
    "NVIDIA H100 NVL": "H100-NVL-94GB",
    "NVIDIA GH200 480GB": "GH200-96GB",  # 480 GB of LPDDR beside 96 GB of HBM3
    "NVIDIA B200": "B200-SXM",
    "NVIDIA A100-SXM4-80GB": "A100-SXM4-80GB",
    "NVIDIA A100-SXM4-40GB": "A100-SXM4-40GB",
    "NVIDIA A100 80GB PCIe": "A100-PCIe-80GB",
    "NVIDIA A100-PCIE-40GB": "A100-PCIe-40GB",
    "Tesla V100-PCIE-32GB": "V100-PCIe-32GB",
    "Tesla V100-SXM2-16GB": "V100-SXM2-16GB",
    "Tesla V100-SXM2-32GB": "V100-SXM2-32GB",
    "Tesla P100-PCIE-16GB": "P100-PCIe-16GB",
    "Tesla T4": "T4",
    "NVIDIA A40": "A40",
    "NVIDIA A10": "A10",
    "NVIDIA L4": "L4",
    "NVIDIA L40S": "L40S",
    "NVIDIA RTX A6000": "A6000",
    "NVIDIA GeForce RTX 3090": "RTX3090",
    "NVIDIA GeForce RTX 4080": "RTX4080",
    "NVIDIA GeForce RTX 4090": "RTX4090",
}


def board_name(given: str) -> str:
    """Return the tables' name of a GPU; the driver's own where the tables have none.

    Examples
    --------
    >>> board_name("NVIDIA H200"), board_name("Some New GPU")
    ('H200-SXM-141GB', 'Some New GPU')
    """
    return BOARDS.get(given.strip(), given.strip())
