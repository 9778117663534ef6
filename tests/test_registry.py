"""Tests of semaug.registry."""

from dataclasses import dataclass, fields
from typing import Any

import pytest

from semaug import registry
from semaug.errors import UserError
from semaug.losses import ISDA
from semaug.registry import (
    Registry,
    choice,
    data_sets,
    describe_options,
    losses,
    networks,
    optimizers,
    recipes,
    registry_of,
    resolve_choices,
)

REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]
ANIMALS = Registry("animal", "semaug.errors", fallback={"gnu": dict}.get)


@ANIMALS.register("cat")
@dataclass(frozen=True, kw_only=True)
class Cat:
    """A cat. It says no more.

    Args:
        lives: How many it has; None
            is nine. See :class:`Cat`.
    """

    lives: int | None = None


@ANIMALS.register("tiger")
@dataclass(frozen=True, kw_only=True)
class Tiger(Cat):
    """A large cat.

    Args:
        weight: In ``kg``.
        prey: What it hunts.

    Raises:
        UserError: Never.
    """

    weight: float
    prey: Any = choice(ANIMALS, "cat")


@dataclass(frozen=True)
class Zoo:
    """Animals."""

    first: Any = choice(ANIMALS, "cat")
    others: tuple[Any, ...] = choice(ANIMALS, ())
    last: Any = choice(ANIMALS, None)
    price: float = 1.0

    def __post_init__(self):
        resolve_choices(self)


def test_members_are_found_made_and_named():
    assert ANIMALS.names() == ("cat", "tiger")
    assert ANIMALS.get("tiger") is Tiger
    assert ANIMALS.get("gnu") is dict
    tiger = ANIMALS.make("tiger", weight=200.0)
    assert tiger == Tiger(weight=200.0, prey=Cat())
    assert losses.name_of(ISDA) == losses.name_of(ISDA(strength=1.0)) == "isda"
    assert ANIMALS.name_of(tiger) == "tests.test_registry:Tiger"  # another process imports it
    assert ANIMALS.get("tests.test_registry:Tiger") is Tiger


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ANIMALS.get("tigre"), "recipe: unknown animal 'tigre'; did you mean 'tiger'?"),
        (lambda: ANIMALS.make("tiger"), "recipe: animal=tiger expects weight=..."),
        (
            lambda: ANIMALS.make("cat", live=3),
            "recipe: animal=cat: unknown option 'live'; did you mean",
        ),
        (
            lambda: ANIMALS.get("json:loads"),
            "json:loads: expected a dataclass, the spec of one animal",
        ),
        (lambda: ANIMALS.get("json:nothing"), "json: unknown name 'nothing'"),
        (lambda: losses.register("isda")(Cat), "isda: expected a name that no loss of semaug has"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(UserError) as error:
        call()
    assert message in str(error.value)


def test_a_recipe_from_outside_may_be_any_thing():
    assert recipes.get("tests.test_registry:ANIMALS") is ANIMALS


def test_options_are_described_without_markup():
    assert describe_options(Cat) == {"lives": "How many it has; none is nine. See Cat."}
    assert describe_options(Tiger)["weight"] == "In kg."
    assert describe_options(Tiger)["lives"] == describe_options(Cat)["lives"]
    assert ANIMALS.shared_options() == ("lives",)
    assert ANIMALS.describe() == {
        "cat": "A cat. It says no more",
        "tiger": "A large cat; options: weight, prey",
    }


def test_names_become_specs_at_any_depth():
    zoo = Zoo(first=Tiger(weight=1.0), others=("cat", Cat(lives=1)))
    assert zoo == Zoo(Tiger(weight=1.0, prey=Cat()), (Cat(), Cat(lives=1)))
    assert zoo.last is None
    assert registry_of(Zoo.__dataclass_fields__["price"]) is None


@dataclass
class Named:
    """Has an option that plain data could not hold."""

    name: str = ""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("dog", "unknown animal 'dog'"),
        (7, "recipe: expected a name or a spec as animal, got 7"),
        (Cat, "recipe: expected a name or a spec as animal, got <class"),
        (Named(), "Named: an option cannot be called `name`, which specs have"),
    ],
)
def test_what_is_no_spec_is_refused(value, message):
    for zoo in ({"first": value}, {"others": ("cat", value)}):
        with pytest.raises(UserError) as error:
            Zoo(**zoo)
        assert message in str(error.value)


def test_every_member_says_what_it_is_and_what_each_option_does():
    for members in REGISTRIES:
        for name, line in members.describe().items():
            assert len(line) > 10, name
            if members is recipes:
                continue
            kind = members.get(name)
            assert members.name_of(kind) == name
            for option, text in describe_options(kind).items():
                assert len(text) > 5, (name, option)
                assert "`" not in text, (name, option)


def test_specs_are_frozen_and_take_keywords_only():
    for members in REGISTRIES:
        for name in members.names():
            kind = members.get(name)
            if members is not recipes:
                assert kind.__dataclass_params__.frozen, name
                assert all(one.kw_only for one in fields(kind)), name


def test_networks_and_optimizers_of_timm_are_members():
    network = networks.make("resnet18", block_drop_rate=0.5)
    assert networks.name_of(network) == "resnet18"
    assert "resnet18" not in networks.names()
    assert optimizers.name_of(optimizers.make("lamb", lr=0.5)) == "lamb"
    assert data_sets.make("cifar10") == data_sets.make("cifar10")
