"""Grad modes as blocks and decorators: in generators, coroutines and threads, and re-entered."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import types

import numpy as np
import pytest

import gpunn
from gpunn.errors import UsageError
from gpunn.tape import is_grad_enabled as recording

# A decorator, the mode that it sets, and the one that surrounds it in a test.
DECORATORS = {
    "no_grad()": (lambda f: gpunn.no_grad()(f), False),
    "no_grad": (lambda f: gpunn.no_grad(f), False),
    "enable_grad()": (lambda f: gpunn.enable_grad()(f), True),
    "enable_grad": (lambda f: gpunn.enable_grad(f), True),
    "set_grad_enabled(False)": (lambda f: gpunn.set_grad_enabled(False)(f), False),
    "set_grad_enabled(True)": (lambda f: gpunn.set_grad_enabled(True)(f), True),
}
each_decorator = pytest.mark.parametrize(("decorate", "mode"), DECORATORS.values(), ids=DECORATORS)


@pytest.fixture(autouse=True)
def _recording():
    assert recording()
    yield
    left = recording()
    gpunn.set_grad_enabled(True)
    assert left, "the test left the mode changed"


@each_decorator
def test_holds_in_a_function(decorate, mode) -> None:
    @decorate
    def f(a, *, b):
        """What it says."""
        return recording(), a, b

    for outside in (True, False):
        with gpunn.set_grad_enabled(outside):
            assert f(1, b=2) == (mode, 1, 2)
            assert recording() is outside
    assert (f.__name__, f.__doc__) == ("f", "What it says.")


@each_decorator
def test_holds_in_a_generator_and_not_between_its_yields(decorate, mode) -> None:
    seen = []

    @decorate
    def generate(n):
        for i in range(n):
            seen.append(recording())
            yield i, recording()
        seen.append(recording())
        return "the end"

    assert inspect.isgeneratorfunction(generate)
    for outside in (True, False):
        seen.clear()
        with gpunn.set_grad_enabled(outside):
            running = generate(2)
            assert recording() is outside
            got = []
            for _ in range(2):
                got.append(next(running))
                assert recording() is outside
            with pytest.raises(StopIteration) as end:
                next(running)
            assert end.value.value == "the end"
            assert recording() is outside
        assert got == [(0, mode), (1, mode)]
        assert seen == [mode] * 3


def test_what_a_generator_makes_is_not_recorded() -> None:
    x = gpunn.tensor([1.0], requires_grad=True)

    @gpunn.no_grad()
    def doubled():
        while True:
            yield x * 2

    running = doubled()
    assert not next(running).requires_grad
    assert (x * 2).requires_grad
    assert not next(running).requires_grad


def test_a_generator_is_sent_thrown_at_and_closed() -> None:
    log: list = []

    @gpunn.no_grad()
    def generate():
        try:
            while True:
                try:
                    got = yield len(log)
                    log.append((got, recording()))
                except ValueError as error:
                    log.append((str(error), recording()))
        finally:
            log.append(("closed", recording()))

    running = generate()
    assert next(running) == 0
    assert running.send("a") == 1
    assert recording()
    assert running.throw(ValueError("b")) == 2
    assert recording()
    running.close()
    assert recording()
    assert log == [("a", False), ("b", False), ("closed", False)]
    with pytest.raises(StopIteration):
        next(running)
    with pytest.raises(KeyError):
        generate().throw(KeyError("not begun"))
    assert recording()


def test_an_error_in_a_generator_restores_the_mode() -> None:
    @gpunn.no_grad()
    def generate():
        yield 1
        raise KeyError("in the body")

    running = generate()
    next(running)
    with pytest.raises(KeyError, match="in the body"):
        next(running)
    assert recording()


def test_a_generator_that_ignores_its_closing_is_an_error_as_without_decorator() -> None:
    @gpunn.no_grad()
    def generate():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    running = generate()
    next(running)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        running.close()
    assert recording()


def test_a_generator_may_change_the_mode_for_itself() -> None:
    @gpunn.no_grad()
    def generate():
        with gpunn.enable_grad():
            yield recording()
        yield recording()

    running = generate()
    assert next(running) is True
    assert recording()
    assert next(running) is False
    assert list(running) == []


def test_two_generators_of_one_decorator_are_independent() -> None:
    off, on = gpunn.no_grad(), gpunn.enable_grad()

    def modes():
        for _ in range(3):
            yield recording()

    plain, recorded = off(modes)(), on(modes)()
    with gpunn.no_grad():
        assert [(next(plain), next(recorded)) for _ in range(3)] == [(False, True)] * 3
        assert not recording()


def test_decorators_stack() -> None:
    @gpunn.no_grad()
    @gpunn.enable_grad()
    def inner_wins():
        yield recording()

    assert next(inner_wins()) is True

    @gpunn.no_grad()
    @functools.lru_cache
    def cached():
        return recording()

    assert cached() is False


@each_decorator
def test_holds_in_a_coroutine_and_not_while_it_waits(decorate, mode) -> None:
    log = []

    @decorate
    async def work(name):
        log.append(("in", recording()))
        await asyncio.sleep(0)
        log.append(("in", recording()))
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        except asyncio.TimeoutError:
            log.append(("in", recording()))
        return name

    async def other():
        for _ in range(3):
            log.append(("out", recording()))
            await asyncio.sleep(0)

    async def main():
        return await asyncio.gather(work("a"), other(), work("b"))

    assert inspect.iscoroutinefunction(work)
    for outside in (True, False):
        log.clear()
        with gpunn.set_grad_enabled(outside):
            assert asyncio.run(main()) == ["a", None, "b"]
            assert recording() is outside
        assert {("in", mode), ("out", outside)} == set(log)
        assert len(log) == 9


def test_a_cancelled_coroutine_cleans_up_in_the_mode() -> None:
    log = []

    @gpunn.no_grad()
    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            log.append(recording())

    async def main():
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert recording()

    asyncio.run(main())
    assert log == [False]


@each_decorator
def test_holds_in_an_async_generator_and_not_between_its_yields(decorate, mode) -> None:
    log = []

    @decorate
    async def generate():
        try:
            got = yield 0
            log.append((got, recording()))
            await asyncio.sleep(0)
            try:
                yield 1
            except ValueError:
                log.append(("thrown", recording()))
            yield 2
            yield 3
        finally:
            await asyncio.sleep(0)
            log.append(("closed", recording()))

    async def main(outside):
        running = generate()
        assert recording() is outside
        got = [await running.asend(None), await running.asend("sent"), await running.athrow(ValueError())]
        assert recording() is outside
        await running.aclose()
        assert recording() is outside
        return got

    assert inspect.isasyncgenfunction(generate)
    for outside in (True, False):
        log.clear()
        with gpunn.set_grad_enabled(outside):
            assert asyncio.run(main(outside)) == [0, 1, 2]
        assert log == [("sent", mode), ("thrown", mode), ("closed", mode)]

    async def through():
        return [item async for item in generate()]

    assert asyncio.run(through()) == [0, 1, 2, 3]


def test_holds_in_callables_that_are_generators_in_disguise() -> None:
    def generate(n):
        for _ in range(n):
            yield recording()

    class Callable:
        def __call__(self, n):
            yield from generate(n)

    class Methods:
        @gpunn.no_grad()
        def method(self, n):
            yield from generate(n)

        @gpunn.no_grad()
        @staticmethod
        def static(n):
            yield from generate(n)

        @gpunn.no_grad()
        @classmethod
        def of_class(cls, n):
            assert cls is Methods
            yield from generate(n)

    partial = functools.update_wrapper(functools.partial(generate, 2), generate)
    assert list(gpunn.no_grad()(partial)()) == [False, False]
    made = Methods()
    for function in (gpunn.no_grad()(Callable()), made.method, made.static, made.of_class, Methods.static):
        running = function(2)
        assert next(running) is False
        assert recording()
        assert next(running) is False

    @gpunn.no_grad()
    @types.coroutine
    def old_style():
        got = yield recording()
        return got

    async def awaits():
        return await old_style()

    steps = awaits()
    assert steps.send(None) is False
    assert recording()
    with pytest.raises(StopIteration, match="sent"):
        steps.send("sent")


@pytest.mark.parametrize("mode", [gpunn.no_grad, gpunn.enable_grad, lambda: gpunn.set_grad_enabled(False)])
def test_refuses_classes_and_what_cannot_be_called(mode) -> None:
    decorator = mode()

    class Thing:
        pass

    with pytest.raises(UsageError, match=r"grad.*: expected a function; got the class Thing.*Decorate those methods"):
        decorator(Thing)
    for wrong in (3, "f", property(lambda self: 1)):
        with pytest.raises(UsageError, match=f"expected a function; got {type(wrong).__name__}"):
            decorator(wrong)
    assert recording()


@pytest.mark.parametrize("mode", [None, 0, 1, "no", lambda: None, np.ones(2)])
def test_set_grad_enabled_refuses_what_is_no_bool(mode) -> None:
    with pytest.raises(UsageError, match="set_grad_enabled: mode: expected True or False"):
        gpunn.set_grad_enabled(mode)
    assert recording()


def test_set_grad_enabled_takes_numpys_bool() -> None:
    with gpunn.set_grad_enabled(np.bool_(False)):
        assert recording() is False


@pytest.mark.parametrize("make", [gpunn.no_grad, lambda: gpunn.set_grad_enabled(False)], ids=["no_grad", "set"])
def test_one_object_is_entered_again_while_entered(make) -> None:
    guard = make()
    seen = []

    def descend(depth):
        with guard:
            seen.append(recording())
            if depth:
                with gpunn.enable_grad():
                    descend(depth - 1)
                    seen.append(recording())
            seen.append(recording())

    descend(2)
    assert recording()
    assert seen == [False, False, False, False, True, False, True, False]
    with gpunn.no_grad():
        descend(0)
        assert not recording()
    assert recording()


@pytest.mark.parametrize("make", [gpunn.no_grad, lambda: gpunn.set_grad_enabled(False)], ids=["no_grad", "set"])
def test_one_object_is_used_by_two_threads(make) -> None:
    """One enters while it records, the other while it does not, and they leave in the order in which they came."""
    guard = make()
    if not recording():  # set_grad_enabled has changed this thread's mode, which is not what is asked here
        guard(lambda: None)
    left = {}
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first():
        with guard:
            first_in.set()
            assert second_in.wait(10)
        left["first"] = recording()
        first_out.set()

    def second():
        with gpunn.no_grad():
            assert first_in.wait(10)
            with guard:
                second_in.set()
                assert first_out.wait(10)
            left["second"] = recording()
        left["second after"] = recording()

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == {"first": True, "second": False, "second after": True}


def test_a_decorated_function_runs_in_two_threads_and_recursively() -> None:
    barrier = threading.Barrier(2)
    left = []

    @gpunn.no_grad()
    def descend(depth):
        assert not recording()
        barrier.wait(10)
        if depth:
            with gpunn.enable_grad():
                descend(depth - 1)
                assert recording()
        assert not recording()

    def run(outside):
        with gpunn.set_grad_enabled(outside):
            descend(2)
            left.append(recording() is outside)

    threads = [threading.Thread(target=run, args=(outside,)) for outside in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == [True, True]


def test_a_block_made_in_one_thread_and_used_in_another() -> None:
    """set_grad_enabled begins its block in the thread that makes it, and in no other."""
    guard = gpunn.set_grad_enabled(False)
    seen = []

    def other():
        seen.append(recording())
        with guard:
            seen.append(recording())
        seen.append(recording())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [True, False, True]
    assert not recording()
    with guard:
        assert not recording()
    assert recording()


def test_a_block_left_in_another_thread_changes_nothing_there() -> None:
    def generate():
        with gpunn.no_grad():
            yield
        seen.append(recording())

    seen: list = []
    running = generate()
    next(running)
    assert not recording()
    thread = threading.Thread(target=lambda: next(running, None))
    thread.start()
    thread.join()
    assert seen == [True]
    gpunn.set_grad_enabled(True)
