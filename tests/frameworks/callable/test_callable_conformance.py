"""The shared suite, over functions, closures, objects and generators."""

from functools import partial
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression

from truss.frameworks.callable.adapter import CallableFramework
from truss.testing.environments import OwnEnvironment, ServedAlone


class CallableConformance(ServedAlone):
    framework = CallableFramework()
    strangers = (LogisticRegression(), torch.nn.Linear(1, 1), LogisticRegression)

    def make_request(self) -> Any:
        return {"inputs": [1, 2, 3]}


class TestClosure(OwnEnvironment, CallableConformance):
    def make_model(self) -> Any:
        weights = {"scale": 3}

        def scale(request: Any) -> Any:
            return {"predictions": [weights["scale"] * item for item in request["inputs"]]}

        return scale


class TestLambda(CallableConformance):
    def make_model(self) -> Any:
        return lambda request: sum(request["inputs"])


class TestObject(CallableConformance):
    def make_model(self) -> Any:
        class Counter:
            def __init__(self, start: int) -> None:
                self.start = start

            def __call__(self, request: Any) -> Any:
                return {"predictions": [self.start + len(request["inputs"])]}

        return Counter(10)


class TestMethod(CallableConformance):
    def make_model(self) -> Any:
        class Counter:
            def count(self, request: Any) -> Any:
                return len(request["inputs"])

        return Counter().count


class TestPartial(CallableConformance):
    def make_model(self) -> Any:
        def add(amount: int, request: Any) -> Any:
            return [item + amount for item in request["inputs"]]

        return partial(add, 5)


class TestBuiltin(CallableConformance):
    def make_request(self) -> Any:
        return [3, 4]

    def make_model(self) -> Any:
        return sum


class TestGenerator(CallableConformance):
    def make_model(self) -> Any:
        def double(request: Any) -> Any:
            for item in request["inputs"]:
                yield 2 * item

        return double


class TestCoroutine(CallableConformance):
    def make_model(self) -> Any:
        async def double(request: Any) -> Any:
            return {"predictions": [2 * item for item in request["inputs"]]}

        return double


class TestAsyncGenerator(CallableConformance):
    def make_model(self) -> Any:
        async def double(request: Any) -> Any:
            for item in request["inputs"]:
                yield 2 * item

        return double


class TestObjectWithAsyncCall(CallableConformance):
    def make_model(self) -> Any:
        class Double:
            async def __call__(self, request: Any) -> Any:
                return [2 * item for item in request["inputs"]]

        return Double()
