"""What is said of an exception in the user's code."""

import numpy as np
import pytest
import xgboost

from truss.model.failure import describe


def test_an_exception_is_its_type_and_what_it_says():
    assert describe(ValueError(" bad shape\n")) == "ValueError: bad shape"
    assert describe(KeyError()) == "KeyError"


def test_the_stack_of_a_library_in_c_is_left_out():
    booster = xgboost.train({}, xgboost.DMatrix(np.eye(3), label=[0, 1, 2]), 1)
    with pytest.raises(xgboost.core.XGBoostError) as raised:
        booster.load_model(booster.save_raw("json")[:100])
    assert "Stack trace" in str(raised.value)
    assert describe(raised.value).startswith("XGBoostError: ")
    assert "Stack trace" not in describe(raised.value)
