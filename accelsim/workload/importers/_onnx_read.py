"""Reads an ONNX file: nodes in order, the shape of every value, and which values are constants.

Shapes are inferred node by node, small integers being computed on the way, so that the first node
whose shape does not follow can be named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from accelsim.errors import ConfigError, GraphError, Location, MissingExtraError
from accelsim.workload.importers._onnx_dims import bind

__all__ = ["Array", "Model", "Node", "read"]

CONTROL_FLOW: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Operators whose work depends on data."""

_KEPT_FLOATS: Final = 4096
_KEPT_INTEGERS: Final = 1_000_000
"""Elements up to which constants are computed; larger ones only have a shape."""

_DTYPES: Final[Mapping[str, str]] = {
    "FLOAT": "fp32", "DOUBLE": "fp64", "FLOAT16": "fp16", "BFLOAT16": "bf16",
    "INT64": "int64", "UINT64": "int64", "INT32": "int32", "UINT32": "int32",
    "INT16": "int16", "UINT16": "int16", "INT8": "int8", "UINT8": "uint8", "BOOL": "bool",
    "INT4": "int4", "UINT4": "int4", "INT2": "int2", "UINT2": "int2", "FLOAT4E2M1": "fp4",
    "FLOAT8E4M3FN": "fp8", "FLOAT8E4M3FNUZ": "fp8", "FLOAT8E5M2": "fp8",
    "FLOAT8E5M2FNUZ": "fp8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Array:
    """Shape and number format of a value."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its operator, with the domain unless that is the standard one."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"node `{self.name}` ({self.op})"


@dataclass(slots=True)
class Model:
    """A graph whose shapes are all known.

    Attributes
    ----------
    name : str
        Name of the file, without its ending.
    nodes : list of Node
        In topological order.
    arrays : dict of str to Array
        Every value's shape and format.
    constants : dict of str to (Node or None)
        Values that do not depend on the inputs, and the node that makes each; None for weights.
    known : dict of str to numpy.ndarray
        Of these, the ones whose content is known: sizes, axes, scalars.
    inputs, outputs : list of str
        What the host gives and takes.
    """

    name: str
    nodes: list[Node]
    arrays: dict[str, Array]
    constants: dict[str, Node | None]
    known: dict[str, np.ndarray[Any, Any]]
    inputs: list[str]
    outputs: list[str]


def read(path: Path, dims: Mapping[str, int], known_ops: Mapping[str, str]) -> Model:
    """Read a model.

    Parameters
    ----------
    path : Path
        An ONNX file; weights in other files beside it are not needed.
    dims : mapping of str to int
        Sizes of the dynamic dimensions.
    known_ops : mapping of str to str
        Operators beyond the standard -> how their output's shape follows: ``same`` as the first
        input's, or a name of `_onnx_shapes`.

    Raises
    ------
    MissingExtraError
        If the package onnx is not installed.
    ConfigError
        If the file is missing or no ONNX file, or a dynamic dimension has no size.
    GraphError
        If a node is unknown, is control flow, or has a result whose shape depends on data.
    """
    proto = _proto(path)
    bind(proto, dims, str(path))
    walk = _Walk(proto, str(path), known_ops)
    for node in proto.graph.node:
        walk.visit(node)
    inputs = [i.name for i in proto.graph.input if i.name not in walk.constants]
    outputs = [o.name for o in proto.graph.output]
    return Model(path.stem, walk.nodes, walk.arrays, walk.constants, walk.known, inputs, outputs)


def _proto(path: Path) -> Any:
    try:
        import onnx
        from onnx import inliner
    except ImportError:
        raise MissingExtraError("onnx", "onnx", "reading an ONNX file") from None

    place = Location(str(path))
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", place) from None
    except Exception:  # protobuf's own errors, which it does not export
        raise ConfigError("is no ONNX file, or a damaged one", place) from None
    if not proto.opset_import:
        raise ConfigError(
            "names no opset, so that its operators are not defined", place, "opset_import",
            "the file is damaged, or no ONNX file",
        )  # fmt: skip
    if not proto.graph.node:
        raise ConfigError("holds no node", place, "graph")
    return inliner.inline_local_functions(proto) if proto.functions else proto


# ---------------------------------------------------------------- shapes


class _Walk:
    """Visits the nodes in order and notes what is known of each value."""

    def __init__(self, proto: Any, file: str, known_ops: Mapping[str, str]) -> None:
        import onnx

        self.onnx, self.proto, self.file, self.known_ops = onnx, proto, file, known_ops
        self.opsets = {one.domain: one.version for one in proto.opset_import}
        self.nodes: list[Node] = []
        self.arrays: dict[str, Array] = {}
        self.types: dict[str, Any] = {}
        self.constants: dict[str, Node | None] = {}
        self.known: dict[str, np.ndarray[Any, Any]] = {}
        self.stated = {one.name: one.type for one in proto.graph.value_info}
        self.stated |= {one.name: one.type for one in proto.graph.output}
        for weight in proto.graph.initializer:
            self._weight(weight)
        for given in proto.graph.input:
            if given.name not in self.constants:
                self._note(given.name, given.type, f"input `{given.name}`")

    def _weight(self, weight: Any) -> None:
        kind = self.onnx.helper.make_tensor_type_proto(weight.data_type, list(weight.dims))
        if 0 in weight.dims:  # an empty tensor stands for an absent input
            self.types[weight.name] = kind
            self.known[weight.name] = np.zeros(list(weight.dims), np.float32)
        else:
            self._note(weight.name, kind, f"weight `{weight.name}`")
        self.constants[weight.name] = None
        if weight.data_location != 1 and math.prod(weight.dims) <= _KEPT_FLOATS:
            try:
                self.known[weight.name] = self.onnx.numpy_helper.to_array(weight)
            except (ValueError, TypeError):  # weights were stripped
                return

    def _note(self, name: str, kind: Any, where: str) -> None:
        if not kind.HasField("tensor_type"):
            raise GraphError(f"{self.file}: {where}: sequences and maps are not supported")
        number = kind.tensor_type.elem_type
        text = self.onnx.TensorProto.DataType.Name(number)
        if text not in _DTYPES:
            raise GraphError(f"{self.file}: {where}: number format {text} is not supported")
        shape = _static(kind)
        if shape is None:
            raise GraphError(f"{self.file}: {where}: its shape is not known")
        self.types[name] = kind
        self.arrays[name] = Array(shape, _DTYPES[text])

    def visit(self, proto: Any) -> None:
        """Note a node and its results."""
        domain = "" if proto.domain in ("", "ai.onnx") else proto.domain
        op = f"{domain}.{proto.op_type}" if domain else proto.op_type
        if op not in self.known_ops and proto.op_type in self.known_ops:
            op = proto.op_type  # mapped without its domain
        name = _module_path(proto) or _text(proto.name) or f"{proto.op_type}_{len(self.nodes)}"
        node = Node(op, name, tuple(proto.input), tuple(proto.output), _attributes(proto))
        if proto.op_type in CONTROL_FLOW:
            raise GraphError(
                f"{self.file}: {node}: control flow; its work depends on data. Export the model"
                " with the branch or the number of steps fixed"
            )
        for given in node.inputs:
            if given and given not in self.types:
                raise GraphError(
                    f"{self.file}: {node}: reads `{given}`, which nothing before it makes"
                )
        self.nodes.append(node)
        read = [given for given in node.inputs if given]
        constant = all(given in self.constants for given in read) and op not in _RANDOM
        kinds = self._kinds(node, proto)
        for made, kind in kinds.items():
            shape = _static(kind)
            if shape is not None and 0 in shape:
                self.types[made], self.known[made] = kind, np.zeros(shape, np.float32)
            else:
                self._note(made, kind, str(node))
            if constant or op in ("Shape", "Size"):
                self.constants[made] = node
        self._compute(node, proto, constant)

    def _kinds(self, node: Node, proto: Any) -> dict[str, Any]:
        """Return the types of a node's results."""
        inferred = self._inferred(node, proto)
        kinds: dict[str, Any] = {}
        for made in node.outputs:
            if not made:
                continue
            for kind in (inferred.get(made), self.stated.get(made)):
                if kind is not None and _static(kind) is not None:
                    kinds[made] = kind
                    break
            else:
                raise GraphError(
                    f"{self.file}: {node}: the shape of `{made}` does not follow from its inputs;"
                    " it depends on data, or the file lacks it"
                )
        return kinds

    def _inferred(self, node: Node, proto: Any) -> dict[str, Any]:
        rule = self.known_ops.get(node.op)
        if rule is not None:
            from accelsim.workload.importers._onnx_shapes import shapes

            arrays = [self.arrays.get(name) if name else None for name in node.inputs]
            return {
                name: self._type(*found)
                for name, found in zip(node.outputs, shapes(rule, node, arrays), strict=False)
                if name and found is not None
            }
        try:
            version = self.opsets[proto.domain]
            schema = self.onnx.defs.get_schema(proto.op_type, version, proto.domain)
        except (KeyError, TypeError, self.onnx.defs.SchemaError):
            raise self._unknown(node) from None
        read = [name for name in dict.fromkeys(node.inputs) if name]
        data = {
            name: self.onnx.numpy_helper.from_array(self.known[name], name)
            for name in read
            if name in self.known
        }
        try:
            found: dict[str, Any] = self.onnx.shape_inference.infer_node_outputs(
                schema, proto, {name: self.types[name] for name in read}, data,
                opset_imports=list(self.proto.opset_import), ir_version=self.proto.ir_version,
            )  # fmt: skip
        except Exception as error:
            raise GraphError(f"{self.file}: {node}: {_first_line(error)}") from None
        return found

    def _type(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Return the type of an array."""
        number = self.onnx.TensorProto.DataType.Value(_NUMBERS[dtype])
        return self.onnx.helper.make_tensor_type_proto(number, list(shape))

    def _unknown(self, node: Node) -> GraphError:
        return GraphError(
            f"{self.file}: {node}: unknown operator. Say what it is like, for example"
            f" --map {node.op}=Relu, --map {node.op}=elementwise:silu or --map {node.op}=view"
        )

    def _compute(self, node: Node, proto: Any, constant: bool) -> None:
        """Compute small constants: sizes, axes, positions."""
        if node.op == "Constant":
            self._constant(node)
        elif node.op == "Shape":
            shape = self.arrays[node.inputs[0]].shape
            start, end = node.attributes.get("start", 0), node.attributes.get("end", len(shape))
            self.known[node.outputs[0]] = np.array(shape[start:end], np.int64)
        elif node.op == "Size":
            self.known[node.outputs[0]] = np.array(self.arrays[node.inputs[0]].elements, np.int64)
        elif constant and all(name in self.known for name in node.inputs if name):
            made = [self.arrays.get(name) for name in node.outputs if name]
            if any(a is None or a.elements > _limit(a) for a in made):
                return
            read = [name for name in node.inputs if name]
            try:
                results = self._evaluated(proto, {name: self.known[name] for name in read})
            except Exception:  # what the evaluator lacks stays unknown, and is named if needed
                return
            self.known |= dict(zip((n for n in node.outputs if n), results, strict=True))

    def _constant(self, node: Node) -> None:
        name, array = node.outputs[0], self.arrays.get(node.outputs[0])
        if array is not None and array.elements <= _limit(array):
            kind, value = next(iter(node.attributes.items()))
            if kind == "value":
                value = self.onnx.numpy_helper.to_array(value)
            floating = kind.startswith("value_float")
            self.known[name] = np.asarray(value, np.float32 if floating else None)

    def _evaluated(self, proto: Any, given: dict[str, np.ndarray[Any, Any]]) -> list[Any]:
        from onnx.reference import ReferenceEvaluator

        helper = self.onnx.helper
        graph = helper.make_graph(
            [proto], "one",
            [helper.make_value_info(name, self.types[name]) for name in given],
            [helper.make_value_info(name, self.types[name]) for name in proto.output if name],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=list(self.proto.opset_import))
        results: list[Any] = ReferenceEvaluator(model).run(None, given)
        return results


_RANDOM: Final = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
     "Multinomial"}
)  # fmt: skip
_NUMBERS: Final = {text: number for number, text in reversed(list(_DTYPES.items()))}


def _limit(array: Array) -> int:
    return _KEPT_INTEGERS if array.dtype.startswith(("int", "bool")) else _KEPT_FLOATS


def _static(kind: Any) -> tuple[int, ...] | None:
    """Return the shape of a type; None if a dimension is not known."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    if any(dim.WhichOneof("value") != "dim_value" for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)


def _attributes(proto: Any) -> dict[str, Any]:
    from onnx import helper

    found: dict[str, Any] = {}
    for one in proto.attribute:
        value = helper.get_attribute_value(one)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, (list, tuple)):
            value = tuple(
                v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value
            )
        found[one.name] = value
    return found


def _text(value: str | bytes) -> str:
    """Return text, which in a damaged file may come as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _module_path(proto: Any) -> str:
    """Return where a node came from in the PyTorch module, which its exporter notes."""
    for note in proto.metadata_props:
        if note.key == "pkg.torch.onnx.name_scopes":
            scopes = [scope for scope in re.findall(r"'([^']*)'", _text(note.value)) if scope]
            if scopes:
                leaf = re.sub(r"_\d+$", "", scopes[-1])
                return f"{scopes[-2]}.{leaf}" if len(scopes) > 1 else leaf
    return ""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
