"""torch's optimisers without torch's compiler, whose import costs more than a short training.

`torch.optim` imports `torch._dynamo`, 2.6 s of CPU and 800 modules, only to have its methods left alone by a compiler
that is not used. Until somebody does use it, a stand-in gives these answers.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"


class Uncompiled(ModuleType):
    """`torch._dynamo` as far as eager code needs it; asked for anything else, it makes way for the real one."""

    @staticmethod
    def disable(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
        return function

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME]
        return getattr(import_module(NAME), name)


def without_compiler() -> None:
    """Let optimisers do without `torch._dynamo`, unless it is imported already."""
    sys.modules.setdefault(NAME, Uncompiled(NAME))
