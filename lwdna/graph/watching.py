"""Watching the functions of PyTorch that are called."""

from __future__ import annotations

from typing import Any

from torch.overrides import TorchFunctionMode


class Watched:
    """A mode of PyTorch, while it is entered, has every call that it is told of made by this."""

    def watched(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """As PyTorch tells of a call."""
        return self.called(func, args, kwargs or {})

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the call gives; unless a subclass says otherwise, what the function gives."""
        return func(*args, **kwargs)


class Watching(Watched, TorchFunctionMode):
    """While it is entered, every call of a function of PyTorch goes through :meth:`called`."""

    __torch_function__ = Watched.watched
