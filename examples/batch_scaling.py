"""How far batching carries decode: tokens per second and latency per step on three devices."""

from __future__ import annotations

import accelsim

DEVICES = {"a100-80gb": "roofline-best", "rtx-4090": "roofline-best", "npu-pim-dual": "npu-pim"}


def main() -> None:
    """Print a row per device and batch; designs that do not fit say what is short."""
    print(f"{'device':14}{'batch':>6}{'ms/step':>10}{'tokens/s':>10}  bottleneck")
    for arch, mapping in DEVICES.items():
        for batch in (1, 8, 64):
            try:
                result = accelsim.evaluate(
                    "llama3-8b", arch, mapping, phase="decode", batch=batch, seq_len=2048
                )
            except accelsim.InfeasibleError as error:
                print(f"{arch:14}{batch:>6}  {error.resource}: short by "
                      f"{(error.needed - error.available) / 2**30:.1f} GiB")  # fmt: skip
                continue
            print(
                f"{arch:14}{batch:>6}{result.latency_s * 1e3:>10.2f}"
                f"{result.tokens / result.latency_s:>10.0f}  {result.bottleneck}"
            )


if __name__ == "__main__":
    main()
