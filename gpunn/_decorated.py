"""Functions whose body runs in a block: plain ones, generators, coroutines and asynchronous generators.

The last three run in pieces. Each piece has a block of its own, which ends where the function hands control back: what
runs between two pieces is outside it.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

from gpunn.errors import UsageError

Block = Callable[[], AbstractContextManager[Any]]


def decorated(function: Any, block: Block, name: str) -> Any:
    """``function``, each piece of which runs in a fresh ``block()``; ``name`` is the decorator's, for messages.

    Raises
    ------
    UsageError
        If it is a class or cannot be called.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(decorated(function.__func__, block, name))
    if inspect.isclass(function):
        raise UsageError(
            f"{name}: expected a function; got the class {function.__name__}. Is its constructor or is every method "
            "meant? Decorate those methods."
        )
    if not callable(function):
        raise UsageError(f"{name}: expected a function; got {type(function).__name__}. Put @{name} below what made it.")
    return functools.wraps(function)(_in_pieces(function, block))


def _in_pieces(function: Any, block: Block) -> Any:
    body = function if inspect.isroutine(function) or isinstance(function, functools.partial) else function.__call__
    if inspect.isasyncgenfunction(body):
        return _async_generator(function, block)
    if inspect.iscoroutinefunction(body):
        return _coroutine(function, block)
    if inspect.isgeneratorfunction(body):
        made = _generator(function, block)
        # Such a function was made a coroutine by types.coroutine, and stays one.
        code = getattr(inspect.unwrap(body), "__code__", None)
        awaited = code is not None and code.co_flags & inspect.CO_ITERABLE_COROUTINE
        return types.coroutine(made) if awaited else made

    def run(*args: Any, **kwargs: Any) -> Any:
        with block():
            return function(*args, **kwargs)

    return run


def _steps(running: Any, block: Block) -> Generator[Any, Any, Any]:
    """Yield and return what ``running``, a generator or the like, does; pass on what is sent and thrown."""
    try:
        with block():
            item = running.send(None)
        while True:
            try:
                sent = yield item
            except GeneratorExit:
                with block():
                    running.close()
                raise
            except BaseException as error:
                with block():
                    item = running.throw(error)
            else:
                with block():
                    item = running.send(sent)
    except StopIteration as end:
        return end.value


_awaited = types.coroutine(_steps)


def _generator(function: Any, block: Block) -> Any:
    def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from _steps(function(*args, **kwargs), block))

    return generate


def _coroutine(function: Any, block: Block) -> Any:
    async def run(*args: Any, **kwargs: Any) -> Any:
        return await _awaited(function(*args, **kwargs).__await__(), block)

    return run


def _async_generator(function: Any, block: Block) -> Any:
    async def generate(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        running = function(*args, **kwargs)
        try:
            item = await _awaited(running.asend(None), block)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    await _awaited(running.aclose(), block)
                    raise
                except BaseException as error:
                    item = await _awaited(running.athrow(error), block)
                else:
                    item = await _awaited(running.asend(sent), block)
        except StopAsyncIteration:
            return

    return generate
