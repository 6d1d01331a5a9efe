"""Where a whole model's error comes from: NeuSight's operator traces by class, beside ours.

A trace holds the operators of embedding, one layer and head, each timed alone with its launch, so
that small operators are longer there than in the running model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelsim.errors import ConfigError, Location
from accelsim.measure.endtoend.comparison import recipe_of
from accelsim.measure.endtoend.recipe import Recipe, simulate
from accelsim.measure.endtoend.rows import Row
from accelsim.measure.gpus import architecture_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["class_of", "compare_trace"]

_COLUMNS: Final = (
    "gpu", "model", "mode", "batch", "seq", "op", "target", "fw_us", "bw_us",
)  # fmt: skip
_LINEAR: Final = frozenset({"query", "key", "value", "dense", "lm_head", "decoder", "score"})
_KEPT: Final = (("layers", 1), ("layers.backward", 1))


def class_of(op: str, target: str) -> str:
    """Return the class of a traced operator: ``product``, ``batched product`` or ``vector``.

    Examples
    --------
    >>> class_of("call_module", "bert.encoder.layer.0.attention.self.query")
    'product'
    >>> class_of("call_function", "matmul"), class_of("call_module", "transformer.ln_f")
    ('batched product', 'vector')
    """
    if op == "call_function" and target in ("matmul", "bmm"):
        return "batched product"
    if target in ("addmm", "linear") or target.rpartition(".")[2] in _LINEAR:
        return "product"
    return "vector"


def compare_trace(path: str | Path) -> pd.DataFrame:
    """Return measured and simulated time of each operator class of each traced model.

    Parameters
    ----------
    path : str or Path
        The traces, as comma-separated values.

    Returns
    -------
    pandas.DataFrame
        ``gpu, model, mode, batch, seq, operators, class, measured_ms, simulated_ms, error``; one
        layer with embedding and head, forward and, in training, backward.

    Raises
    ------
    ConfigError
        If the file is missing or lacks a column.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise ConfigError("no such file", Location(str(path)))
    trace = pd.read_csv(path)
    missing = [name for name in _COLUMNS if name not in trace]
    if missing:
        raise ConfigError(f"columns {', '.join(missing)} are missing", Location(str(path)))
    trace["class"] = [class_of(*pair) for pair in zip(trace["op"], trace["target"], strict=True)]
    trace["measured_ms"] = (trace["fw_us"] + trace["bw_us"].fillna(0)) / 1e3
    records: list[dict[str, Any]] = []
    for key, group in trace.groupby(["gpu", "model", "mode", "batch", "seq"]):
        gpu, model, mode, batch, seq = key
        found = _simulated(str(gpu), str(model), str(mode), int(str(batch)), int(str(seq)))
        for name, ops in group.groupby("class"):
            measured, ours = float(ops["measured_ms"].sum()), found.get(str(name), float("nan"))
            records.append(
                {"gpu": gpu, "model": model, "mode": mode, "batch": batch, "seq": seq,
                 "operators": len(ops), "class": name, "measured_ms": measured,
                 "simulated_ms": ours, "error": ours / measured - 1}
            )  # fmt: skip
    return pd.DataFrame(records)


def _simulated(gpu: str, model: str, mode: str, batch: int, seq: int) -> dict[str, float]:
    """Return operator class -> device time of embedding, one layer and head."""
    if not architecture_name(gpu):
        return {}
    phase = "training" if mode == "train" else "inference"
    row = Row(0, "neusight", gpu, 1, model, phase, batch, seq, 0, "fp32", "hf-eager",
              "latency_ms", 1.0, "")  # fmt: skip
    recipe = recipe_of(row)
    if not isinstance(recipe, Recipe):
        return {}
    (one,) = recipe.passes
    kept = _KEPT if phase == "training" else _KEPT[:1]
    return dict(simulate(replace(recipe, passes=(replace(one, keep=kept),))).by_class)
