"""Two recipes with different metrics are refused before anything is trained."""

import pytest

import semaug.methods
from semaug.errors import UserError
from semaug.methods import Method
from semaug.recipes import find_recipe
from semaug.report.compare import check_same_test


def test_the_metric_that_a_method_chooses_is_known():
    plain, both, accuracy, ait = (
        find_recipe(f"digits_resnet8{change}")
        for change in ("", ",metrics=error,accuracy", ",metrics=accuracy", ",method=ait")
    )
    check_same_test(plain, both)
    with pytest.raises(UserError, match="metrics=error and metrics=accuracy"):
        check_same_test(plain, accuracy)
    with pytest.raises(UserError, match="metrics=accuracy and metrics=error"):
        check_same_test(accuracy, ait)


def test_all_methods_of_semaug_choose_the_error():
    kinds = [one for one in vars(semaug.methods).values() if isinstance(one, type)]
    methods = [kind for kind in kinds if issubclass(kind, Method)]
    assert len(methods) > 2
    others = {method.__name__ for method in methods if method.metrics is not Method.metrics}
    assert others == {"Segmentation"}  # whose images have no class
