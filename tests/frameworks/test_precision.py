"""Numbers of an answer say by their type how exact they are."""

import numpy as np
import pytest

from truss.frameworks.precision import in_precision
from truss.model.compare import TOLERANCES, tolerance_of


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_at_any_depth_have_the_type_of_the_model(dtype):
    answer = {"predictions": [{"label": "a", "score": 0.25, "count": 3}, [0.5, None, True]]}
    marked = in_precision(answer, dtype)
    assert marked == answer
    assert tolerance_of(marked) == TOLERANCES[dtype]


def test_what_numpy_lacks_is_compared_as_its_likes_are():
    assert isinstance(in_precision(0.5, "bfloat16"), np.float16)
