"""From YAML text to typed, validated objects that remember where every value came from."""

from accelsim.config import library
from accelsim.config.compose import compose, load_resolved, load_spec
from accelsim.config.expr import Expression, ExpressionError, compile_expression
from accelsim.config.resolve import Resolved, dotted, resolve
from accelsim.config.schema import (
    Amperes,
    Bytes,
    BytesPerSecond,
    Count,
    FlopsPerSecond,
    Fraction,
    Hertz,
    Nanometres,
    Nonnegative,
    Picojoules,
    PicojoulesPerBit,
    Positive,
    Seconds,
    Spec,
    SquareMillimetres,
    Volts,
    Watts,
    Whole,
    validate,
)
from accelsim.config.tree import Tree, load_tree, parse_tree

__all__ = [
    "Amperes",
    "Bytes",
    "BytesPerSecond",
    "Count",
    "Expression",
    "ExpressionError",
    "FlopsPerSecond",
    "Fraction",
    "Hertz",
    "Nanometres",
    "Nonnegative",
    "Picojoules",
    "PicojoulesPerBit",
    "Positive",
    "Resolved",
    "Seconds",
    "Spec",
    "SquareMillimetres",
    "Tree",
    "Volts",
    "Watts",
    "Whole",
    "compile_expression",
    "compose",
    "dotted",
    "library",
    "load_resolved",
    "load_spec",
    "load_tree",
    "parse_tree",
    "resolve",
    "validate",
]
