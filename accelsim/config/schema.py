"""The base of everything read from files, and the field types that accept units and expressions.

Unknown keys and ill-typed values become one `ConfigError` that lists each with file, line,
field path, what was found and what is legal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError, core_schema

from accelsim.config.expr import ExpressionError, compile_expression
from accelsim.config.resolve import Resolved, dotted
from accelsim.config.tree import Path_
from accelsim.errors import ConfigError, nearest
from accelsim.quantity import parse

__all__ = [
    "Amperes", "Bytes", "BytesPerSecond", "Count", "FlopsPerSecond", "Fraction", "Hertz",
    "Nanometres", "Nonnegative", "Picojoules", "PicojoulesPerBit", "Positive", "Seconds", "Spec",
    "SquareMillimetres", "Volts", "Watts", "Whole", "validate",
]  # fmt: skip


class Spec(BaseModel):
    """Base of every typed object that comes from a file: frozen, and no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            legal = {field.alias or name for name, field in cls.model_fields.items()}
            for key in data:
                if key not in legal:
                    raise PydanticCustomError(
                        "unknown_key",
                        "unknown key `{key}`; {hint}",
                        {"key": key, "hint": nearest(str(key), legal)},
                    )
        return data


def _number(value: Any) -> Any:
    """Accept a number, or text that is arithmetic over numbers (``4 * 1024``)."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "found true/false, a number is needed")
    if isinstance(value, str):
        try:
            return compile_expression(value).evaluate(lambda name: None)
        except ExpressionError:
            raise PydanticCustomError(
                "number", "`{text}` is not a number", {"text": value}
            ) from None
    return value


def _whole(value: Any) -> Any:
    number = _number(value)
    if isinstance(number, float) and not number.is_integer():
        raise PydanticCustomError("whole", "{number} is not a whole number", {"number": number})
    return int(number) if isinstance(number, float) else number


def _schema(number: str, what: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": number}, {"type": "string", "title": what}]})


@dataclass(frozen=True, slots=True)
class Quantity:
    """Field marker: a number with a unit of `dimension`, stored as a float in that unit."""

    dimension: str
    above_zero: bool = True

    def read(self, value: Any) -> float:
        """Return the value in the stored unit; text may carry a unit or be plain arithmetic."""
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise PydanticCustomError("quantity", "a number with a unit is needed")
        try:
            return parse(value, self.dimension)
        except ValueError as error:
            problem = str(error)
        try:
            return float(_number(value))
        except (PydanticCustomError, TypeError):
            raise PydanticCustomError("quantity", "{problem}", {"problem": problem}) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        bound = {"gt": 0.0} if self.above_zero else {"ge": 0.0}
        number = core_schema.float_schema(**bound)  # type: ignore[arg-type]
        return core_schema.no_info_before_validator_function(self.read, number)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        what = f"quantity in {self.dimension}, or expression"
        return {"anyOf": [{"type": "number"}, {"type": "string", "title": what}]}


_EXPRESSION = "number or expression"
Count = Annotated[int, Field(gt=0), BeforeValidator(_whole), _schema("integer", _EXPRESSION)]
"""A whole number of at least 1."""
Whole = Annotated[int, Field(ge=0), BeforeValidator(_whole), _schema("integer", _EXPRESSION)]
"""A whole number of at least 0."""
Positive = Annotated[float, Field(gt=0), BeforeValidator(_number), _schema("number", _EXPRESSION)]
"""A number above 0."""
Nonnegative = Annotated[
    float, Field(ge=0), BeforeValidator(_number), _schema("number", _EXPRESSION)
]
"""A number of at least 0."""
Fraction = Annotated[
    float, Field(gt=0, le=1), BeforeValidator(_number), _schema("number", _EXPRESSION)
]
"""A number above 0 and at most 1."""

Bytes = Annotated[float, Quantity("bytes")]
BytesPerSecond = Annotated[float, Quantity("bytes_per_s")]
FlopsPerSecond = Annotated[float, Quantity("flops")]
Hertz = Annotated[float, Quantity("hz")]
Nanometres = Annotated[float, Quantity("nm")]
Seconds = Annotated[float, Quantity("s", above_zero=False)]
Picojoules = Annotated[float, Quantity("pj", above_zero=False)]
PicojoulesPerBit = Annotated[float, Quantity("pj_per_bit", above_zero=False)]
Watts = Annotated[float, Quantity("w", above_zero=False)]
Volts = Annotated[float, Quantity("v", above_zero=False)]
Amperes = Annotated[float, Quantity("a", above_zero=False)]
SquareMillimetres = Annotated[float, Quantity("mm2", above_zero=False)]

Model = TypeVar("Model", bound=Spec)


def validate(resolved: Resolved, model: type[Model]) -> Model:
    """Return the file's data as a typed object.

    Raises
    ------
    ConfigError
        Lists every problem, each with file, line, field path and what is legal.
    """
    if not isinstance(resolved.data, Mapping):
        raise ConfigError(
            f"a mapping is needed, found {type(resolved.data).__name__}", resolved.tree.locate(())
        )
    try:
        return model.model_validate(resolved.data)
    except ValidationError as error:
        problems = [_problem(resolved, e) for e in error.errors(include_url=False)]
    first = problems[0]
    if len(problems) == 1:
        raise first
    rest = "".join(f"\n{problem}" for problem in problems[1:])
    raise ConfigError(first.message, first.location, first.path, first.hint + rest)


def _problem(resolved: Resolved, error: ErrorDetails) -> ConfigError:
    path = _existing(resolved.data, error["loc"])
    context = error.get("ctx", {})
    message, hint, key = error["msg"], "", False
    if error["type"] == "unknown_key":
        path, key = (*path, context["key"]), True
    elif error["type"] == "missing":
        message = f"`{error['loc'][-1]}` is missing"
    elif error["type"] == "union_tag_invalid":
        legal = str(context["expected_tags"]).replace("'", "").split(", ")
        path = (*path, str(context["discriminator"]).strip("'"))
        message = f"unknown kind `{context['tag']}`"
        hint = nearest(str(context["tag"]), legal)
    elif error["type"] == "literal_error":
        legal = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        message = f"found `{error['input']}`"
        hint = nearest(str(error["input"]), legal)
    else:
        found = error["input"]
        if isinstance(found, (str, int, float)) and f"`{found}`" not in message:
            message += f" (found `{found}`)"
    hint = hint or resolved.suspects.get(path, "")
    return ConfigError(message, resolved.tree.locate(path, key=key), dotted(path), hint)


def _existing(data: Any, location: tuple[str | int, ...]) -> Path_:
    """Return the parts of a pydantic location that stand in the data: drops union tags."""
    path: list[str | int] = []
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(part)
    return tuple(path)
