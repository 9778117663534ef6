"""Tests of semaug.recipes.semi_supervised."""

from dataclasses import replace

import pytest

from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Cosine
from semaug.losses import NoUnlabeledLoss, SemanticConsistency
from semaug.published import find_published
from semaug.published.places import entry_of, recipe_of
from semaug.recipe.plan import make_plan, stream_plan, streams_of
from semaug.recipe.quick import make_quick
from semaug.recipes import describe_recipe, find_recipe
from semaug.recipes.semi_supervised import HOSTS, SMALL, TABLE_6

IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "svhn": 73_257}


def plan_of(recipe, num_images, num_labeled):
    streams = streams_of(recipe)
    sizes = {"train": num_labeled, "unlabeled": num_images}
    plans = {name: stream_plan(recipe, one, sizes[one.part]) for name, one in streams.items()}
    return make_plan(recipe, plans)


def test_settings_are_those_of_appendix_b():
    assert len(TABLE_6) == 6 * 5
    for name, row in TABLE_6.items():
        recipe = row.recipe
        data, labels, host = name.split("_", 2)
        assert recipe.network.model == "cnn13_cifar"
        assert recipe.batch_size == 128
        assert recipe.optimizer == SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
        assert recipe.schedule == Cosine()
        assert (recipe.augment.padding, recipe.augment.padding_mode) == (2, "reflect")
        in_svhn = data == "svhn"
        assert recipe.augment.flip is not in_svhn
        assert recipe.augment.whitening == ("per_image" if in_svhn else True)
        classes = 100 if data == "cifar100" else 10
        assert recipe.subset.labeled_per_class * classes == int(labels)
        assert recipe.subset.unlabeled_includes_labeled
        plan = plan_of(recipe, IMAGES[data], int(labels))
        assert plan.total_steps == 400 * (573 if in_svhn else 391)
        assert plan.epochs == 400
        assert plan.is_evaluated(391)
        assert host in HOSTS


def test_hosts_have_the_weights_of_their_sources():
    def method(name):
        return find_recipe(name).method

    assert method("cifar10_1000_pi_model").host_weight == 100
    assert method("cifar10_1000_temporal_ensembling").host_weight == 30
    assert method("cifar100_10000_temporal_ensembling").host_weight == 100
    assert method("cifar10_4000_mean_teacher").decay_in_ramp is None
    assert method("svhn_500_mean_teacher").decay_in_ramp == 0.99
    assert (method("cifar10_4000_vat").epsilon, method("svhn_500_vat").epsilon) == (8, 18)
    assert method("cifar10_4000_vat").unlabeled_loss == NoUnlabeledLoss()


@pytest.mark.parametrize("number", find_published("isda", 6), ids=lambda x: f"{x.row}, {x.column}")
def test_every_number_of_table_6_has_a_recipe(number):
    entry = entry_of(number)
    recipe = find_recipe(recipe_of(number))
    assert entry.metric == "error"
    isda = number.method.endswith("+isda")
    assert entry.baseline == (entry.recipe.removesuffix("_isda") if isda else None)
    assert (recipe.method.unlabeled_loss == SemanticConsistency()) is isda
    assert HOSTS[entry.recipe.removesuffix("_isda").split("_", 2)[2]]
    assert f"{recipe.subset.labeled_per_class * recipe.data.num_classes:,}" in number.column


def test_small_twins_differ_in_images_network_and_length():
    assert len(SMALL) == len(HOSTS)
    for name, row in SMALL.items():
        whole = find_recipe(name.replace("10k", "1000"))
        assert row.recipe.subset == replace(whole.subset, train_per_class=1000)
        assert row.recipe.network.model == "cnn13_16_cifar"
        assert row.recipe.augment == replace(whole.augment, whitening="contrast")
        if name.endswith("vat"):
            assert row.recipe.method == replace(whole.method, epsilon=4.0)
        else:
            assert row.recipe.method == whole.method
        assert plan_of(row.recipe, 10_000, 1000).total_steps == 40 * 79
    assert describe_recipe("cifar10_10k_vat_isda") == (
        "A CNN-13 of width 16 on 1,000 labels among 10,000 images of CIFAR-10 with VAT and ISDA."
    )


@pytest.mark.parametrize("name", SMALL)
def test_a_quick_one_has_labels_and_a_few_steps(name):
    quick = make_quick(find_recipe(f"{name}_isda"))
    assert quick.subset.train_per_class <= 10
    assert quick.steps == 8 or quick.epochs <= 2
