"""Bodies held against the types that a step names: dataclasses, TypedDicts, Structs, pydantic's models."""

import contextlib
import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import hypothesis
import jsonschema
import msgspec
import numpy as np
import pydantic
import pytest
from hypothesis import strategies as some
from numpy.typing import NDArray

from truss.config import read_config
from truss.errors import InvalidInputError, ModelDefinitionError, PredictionError
from truss.model import check_model
from truss.model.contract import Contract, contract_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Person(msgspec.Struct):
    age: Annotated[int, msgspec.Meta(ge=0)]
    name: Annotated[str, msgspec.Meta(max_length=3)] | None = None
    colour: Colour = Colour.RED


@dataclass
class People:
    inputs: list[Person]
    scores: dict[str, float] = field(default_factory=dict)
    pair: tuple[int, str] = (0, "")
    when: datetime.datetime | None = None

    def __post_init__(self):
        if not self.inputs:
            raise ValueError("there is nobody in it")


class Place(TypedDict):
    city: str


class Point(NamedTuple):
    x: float
    name: str


class Strict(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    first_name: str


@dataclass
class Picture:
    pixels: NDArray[np.float32]
    labels: list[int] = field(default_factory=list)


class PydanticPerson(pydantic.BaseModel):
    age: int = pydantic.Field(ge=0)
    kind: Literal["a", "b"] | int = "a"


class PydanticPeople(pydantic.BaseModel):
    inputs: list[PydanticPerson]

    @pydantic.field_validator("inputs")
    @classmethod
    def somebody(cls, inputs):
        if not inputs:
            raise ValueError("there is nobody in it")
        return inputs


def refusal(kind, request):
    with pytest.raises(InvalidInputError) as caught:
        Contract(kind).read(request)
    assert caught.value.status == 400
    return caught.value.message.split("; ")


@pytest.mark.parametrize(
    ("kind", "request_", "faults"),
    [
        (
            People,
            {
                "inputs": [{"age": 1}, {"age": "x", "name": "long"}, {"age": -1, "colour": "green"}, {}],
                "scores": {"a": 1, "b": "much"},
                "pair": [1, 2],
                "when": "soon",
            },
            [
                '$.inputs[1].age: expected int >= 0, got "x"',
                '$.inputs[1].name: expected str of length <= 3 or null, got "long"',
                "$.inputs[2].age: expected int >= 0, got -1",
                '$.inputs[2].colour: expected one of "red", "blue", got "green"',
                "$.inputs[3].age: expected int >= 0, got nothing: it is required",
                '$.scores["b"]: expected float, got "much"',
                "$.pair[1]: expected str, got 2",
                '$.when: expected date and time as in RFC 3339 or null, got "soon"',
            ],
        ),
        (People, {"inputs": []}, ['$: there is nobody in it, got {"inputs":[]}']),
        (People, {}, ["$.inputs: expected list, got nothing: it is required"]),
        (People, [1], ["$: expected object (People), got [1]"]),
        (Place, {"city": 3}, ["$.city: expected str, got 3"]),
        (Place, {}, ["$.city: expected str, got nothing: it is required"]),
        (Point, [1, 2], ["$[1]: expected str, got 2"]),
        (list[Place], [{"city": "a"}, {"city": None}], ["$[1].city: expected str, got null"]),
        (Strict, {"firstName": 1}, ["$.firstName: expected str, got 1"]),
        (
            Strict,
            {"firstName": "a", "x": 1},
            ['$: object contains unknown field `x`, got {"firstName":"a","x":1}'],
        ),
        (Picture, {"pixels": ["a"]}, ['$.pixels: expected array of float32, got ["a"]']),
        (
            PydanticPeople,
            {"inputs": [{"age": "x"}, {"age": -1}, {}, {"age": 1, "kind": "c"}]},
            [
                '$.inputs[0].age: expected a valid integer, unable to parse string as an integer, got "x"',
                "$.inputs[1].age: expected greater than or equal to 0, got -1",
                "$.inputs[2].age: expected a value, got nothing: it is required",
                "$.inputs[3].kind: expected 'a' or 'b', got \"c\"",
                '$.inputs[3].kind: expected a valid integer, unable to parse string as an integer, got "c"',
            ],
        ),
        (PydanticPeople, {"inputs": []}, ["$.inputs: there is nobody in it, got []"]),
    ],
)
def test_every_difference_is_named_with_place_expectation_and_value(kind, request_, faults):
    assert refusal(kind, request_) == faults


def test_only_the_first_of_many_differences_are_named():
    faults = refusal(list[Place], [{"city": 1}] * 50)
    assert len(faults) == 9
    assert faults[-1] == "and more"


@pytest.mark.parametrize(
    ("kind", "request_", "value"),
    [
        (People, {"inputs": [{"age": 1}]}, People([Person(1)])),
        (People, {"instances": [{"age": 1}]}, People([Person(1)])),  # clients that can only send this name
        (Place, {"city": "a", "more": 1}, {"city": "a"}),
        (list[Place], {"inputs": [{"city": "a"}]}, [{"city": "a"}]),
        (Point, [1, "a"], Point(1.0, "a")),
        (Person, {"age": 7.0}, Person(7)),  # JSON Schema's integers
        (Person | None, None, None),
        (Person, Person(3), Person(3)),  # in a notebook
        (PydanticPeople, {"instances": [{"age": "1"}]}, PydanticPeople(inputs=[PydanticPerson(age=1)])),
        (list[PydanticPerson], [{"age": 1}], [PydanticPerson(age=1)]),
    ],
)
def test_a_request_that_fits_becomes_a_value_of_the_type(kind, request_, value):
    contract = Contract(kind)
    assert contract.read(request_) == value
    checked = contract.check(request_)
    assert contract.read(checked) == value
    assert checked.request == request_


def test_arrays_are_read_as_lists_where_the_type_has_lists_and_as_arrays_where_it_has_arrays():
    read = Contract(Picture).read
    picture = read({"pixels": np.ones((2, 2)), "labels": np.array([1, 2])})
    assert picture.labels == [1, 2]
    assert picture.pixels.dtype == np.float32
    assert read({"pixels": [[1, 2]]}).pixels.shape == (1, 2)
    given = np.ones(3, "float32")
    assert read({"pixels": given}).pixels is given


def test_what_a_types_own_code_raises_besides_is_no_fault_of_the_request():
    @dataclass
    class Broken:
        x: int

        def __post_init__(self):
            raise KeyError("oops")

    with pytest.raises(PredictionError, match=r"reading the request as Broken raised KeyError: 'oops'"):
        Contract(Broken).read({"x": 1})


def test_a_type_that_cannot_be_read_is_refused_when_the_model_is_loaded(write, load):
    folder = write(
        {
            "model/model.py": """
            from dataclasses import dataclass

            @dataclass
            class A:
                x: int

            @dataclass
            class B:
                y: int

            class Model:
                def predict(self, request: A | B): ...
            """
        }
    )
    for refuses in (load, lambda folder: check_model(folder, read_config(folder))):
        with pytest.raises(ModelDefinitionError, match=r"bodies cannot be read as A \| B"):
            refuses(folder)


def unannotated(request): ...
def mapping(request: dict[str, Any]): ...
def array(request: np.ndarray): ...
def anything(request: Any): ...
def missing_name(request: "TypeChecked") -> "AlsoMissing": ...  # noqa: F821
def nothing(): ...
def postponed(person: "Person"): ...
def listed(people: "list[Person]", more=None): ...


@pytest.mark.parametrize("step", [unannotated, mapping, array, anything, missing_name, nothing, print])
def test_steps_whose_annotations_have_no_fields_have_no_contract(step):
    assert contract_of(step) is None


@pytest.mark.parametrize("step", [postponed, listed])
def test_annotations_may_be_texts(step):
    assert contract_of(step) is not None


def test_a_parameter_that_takes_the_request_itself_is_not_the_body():
    class Request(pydantic.BaseModel):
        __module__ = "starlette.requests"

    def step(request: Request, person: Person): ...

    assert contract_of(step).read({"age": 1}) == Person(1)


@pytest.mark.parametrize("kind", [People, Place, Point, list[Place], Strict, Picture, PydanticPeople, Person])
def test_the_example_fits_the_type_and_its_schema(kind):
    contract = Contract(kind)
    example = contract.example()
    jsonschema.Draft202012Validator.check_schema(contract.schema)
    jsonschema.validate(example, contract.schema)
    assert contract.read(example) is not None


def test_the_steps_get_values_of_their_types_and_others_what_they_got_before(write, load):
    model = load(
        write(
            {
                "model/model.py": """
                from __future__ import annotations
                from dataclasses import dataclass

                @dataclass
                class Body:
                    inputs: list[int]

                class Model:
                    def preprocess(self, body: Body):
                        return body.inputs

                    def predict(self, numbers: list[int]) -> Body:
                        return Body([number * 2 for number in numbers])
                """
            }
        )
    )
    assert model.predict({"inputs": [1, 2]}).inputs == [2, 4]
    with pytest.raises(InvalidInputError, match=r'\$.inputs\[0\]: expected int, got "a"'):
        model.predict({"inputs": ["a"]})


@dataclass
class Tree:
    children: "list[Tree]" = field(default_factory=list)


@dataclass
class Everything:
    tree: Tree | None = None
    person: Person | None = None
    array: np.ndarray | None = None
    data: bytes = b""
    id: uuid.UUID | None = None
    cost: decimal.Decimal | None = None
    at: datetime.time | None = None
    lasts: datetime.timedelta | None = None
    point: Point | None = None
    either: int | str | list[float] | None = None
    tags: frozenset[Colour] = frozenset()
    by_number: dict[int, Place] = field(default_factory=dict)
    mark: Literal["a", "b"] = "a"


class PydanticEverything(pydantic.BaseModel, arbitrary_types_allowed=True):
    people: list[PydanticPerson] = []
    whole: Tree | None = None
    array: np.ndarray | None = None
    data: bytes = b""
    either: PydanticPerson | list[Tree] | int | None = None


NAMES = some.sampled_from(
    [
        *(
            "tree",
            "person",
            "array",
            "data",
            "id",
            "cost",
            "at",
            "lasts",
            "point",
            "either",
            "tags",
            "by_number",
        ),
        *("mark", "children", "age", "name", "colour", "x", "city", "people", "whole", "inputs", "instances"),
    ]
)
TEXTS = some.sampled_from(["red", "a", "12:00:00", "PT1S", "AAAA", "1e5", "x" * 100])
VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | TEXTS
    | some.binary(max_size=3)
    # What a body in msgpack may hold besides.
    | some.builds(np.array, some.lists(some.floats(), max_size=3))
    | some.builds(np.float32, some.floats(width=32))
    | some.datetimes()
    | some.builds(msgspec.msgpack.Ext, some.integers(0, 5), some.binary(max_size=3)),
    lambda inner: some.lists(inner, max_size=4)
    | some.dictionaries(NAMES | some.integers() | some.binary(max_size=3), inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize("kind", [Everything, PydanticEverything, list[Everything], People])
def test_whatever_a_request_holds_it_is_read_or_refused(kind):
    contract = Contract(kind)

    @hypothesis.settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @hypothesis.given(VALUES)
    def read(value):
        with contextlib.suppress(InvalidInputError):
            contract.read(value)

    read()


@pytest.mark.parametrize("kind", [Tree, PydanticEverything, People])
@pytest.mark.parametrize("depth", [200, 900])
def test_a_request_that_is_nested_deeply_is_refused(kind, depth):
    value: Any = "leaf"
    for _ in range(depth):
        value = {"children": [value]}
    with pytest.raises(InvalidInputError):
        Contract(kind).read(value if kind is Tree else {"whole": value, "inputs": value})
