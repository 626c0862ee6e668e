"""Watching the functions of PyTorch that are called."""

from __future__ import annotations

from typing import Any

from torch.overrides import TorchFunctionMode


class Watching(TorchFunctionMode):
    """While it is entered, every call of a function of PyTorch goes through :meth:`called`."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self.called(func, args, kwargs or {})

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the call gives; unless a subclass says otherwise, what the function gives."""
        return func(*args, **kwargs)
