"""accelsim: simulate and explore hardware accelerators for machine-learning models.

Everything of everyday use is here by name and is loaded on first use; `accelsim.api` lists it.

>>> import accelsim
>>> accelsim.evaluate("llama3-8b", "null", "roofline-best", batch=16).tokens
16
"""

from __future__ import annotations

from importlib import import_module

from accelsim._version import __version__

__all__ = ["__version__"]

TYPE_CHECKING = False  # type checkers take it for true; importing typing would cost 10 ms

if TYPE_CHECKING:
    from accelsim.api import *  # noqa: F403 - the list is `accelsim.api.__all__`
else:

    def __getattr__(name: str) -> object:
        unknown = AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name.startswith("_"):  # what the interpreter asks of any package
            raise unknown
        try:
            return import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
        api = import_module(f"{__name__}.api")
        if name not in api.__all__:
            raise unknown
        globals()[name] = value = getattr(api, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module(f"{__name__}.api").__all__})
