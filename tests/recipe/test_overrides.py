"""Tests of semaug.recipe.overrides."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import pytest

from semaug.augmentation import Augment
from semaug.data import Subset
from semaug.engine.optimizers import SGD, AdamW
from semaug.engine.schedules import Cosine, Step
from semaug.errors import UserError
from semaug.losses import ISDA, CrossEntropy, Explicit
from semaug.methods.mutual import DML, MultiAIT
from semaug.metrics import ErrorSpec, Top5ErrorSpec
from semaug.recipe import Recipe
from semaug.recipe.overrides import (
    _SYNONYMS,
    applicable,
    describe_fields,
    describe_overrides,
    override,
    split_overrides,
    takes_list,
)
from semaug.recipes import find_recipe, recipe_names
from semaug.registry import choice, data_sets, losses, networks

HERE = __name__  # specs of this file are found by this name


@dataclass(frozen=True, kw_only=True)
class OwnRate:
    """A loss that has a learning rate of its own.

    Args:
        lr: Of its parameters.
    """

    lr: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """Another data set, turned.

    Args:
        images: What is turned.
        angles: By how much, in degrees.
        keep: None, all; a number, as many; ``"half"``.
        named: By which name each is.
        anything: Only Python knows.
    """

    images: Any = choice(data_sets, "tests.recipe.test_overrides:Noisy")
    angles: tuple[int, ...] = (90,)
    keep: int | Literal["half"] | None = None
    named: tuple[bool, ...] = ()
    anything: Any = None


@dataclass(frozen=True, kw_only=True)
class Noisy:
    """A data set with noise.

    Args:
        noise: How much.
    """

    noise: float = 0.5


def change(*texts, recipe="digits_resnet8_isda"):
    return override(find_recipe(recipe), split_overrides(texts))


def message_of(*texts, recipe="digits_resnet8_isda"):
    with pytest.raises(UserError) as error:
        change(*texts, recipe=recipe)
    return str(error.value)


# Values.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("epochs=7", 7),
        ("optimizer.lr=1e-2", 0.01),
        ("optimizer.lr=1", 1.0),
        ("optimizer.nesterov=False", False),
        ("subset.train_per_class=12", 12),
        ("subset.train_per_class=none", None),
        ("channels_last=true", True),
        ("channels_last=auto", "auto"),
        ("precision=32", "32"),
        ("augment.jitter=0.4,0.4,0.4,0.1", (0.4, 0.4, 0.4, 0.1)),
        ("augment.jitter=none", ()),
        ("augment.policy=autoaugment_svhn", "autoaugment_svhn"),
        ("augment.policy=none", None),
        ("ema_decay=0.999", 0.999),
        ("loss.memory=epoch", "epoch"),
        ("loss.memory=0.9", 0.9),
        ("loss.memory=none", None),
    ],
)
def test_values_are_read_by_the_type_of_their_field(text, value):
    dotted = text.partition("=")[0]
    group, _, name = dotted.rpartition(".")
    short = text.rpartition(".")[2] if text.count(".") == 1 and "=" not in group else None
    actual = change(text)
    actual = getattr(getattr(actual, group) if group else actual, name)
    assert actual == value
    assert type(actual) is type(value)
    assert short is None or change(f"{name}={text.partition('=')[2]}") == change(text)


def test_names_of_specs_are_read_by_the_registry_of_their_field():
    changed = change("network=resnet20_cifar", "metrics=error,top5_error", "schedule=step")
    assert changed.network == networks.make("resnet20_cifar")
    assert changed.metrics == (ErrorSpec(), Top5ErrorSpec())
    assert changed.schedule == Step()
    assert override(changed, {"metrics": "none"}).metrics == ()
    together = change("method=dml", "peers=resnet20_cifar,resnet8_cifar").method
    peers = networks.make("resnet20_cifar"), networks.make("resnet8_cifar")
    assert together == DML(peers=peers)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs=fast", "expected `epochs` to be a whole number or 'none', got 'fast'"),
        ("epochs=1.5", "expected `epochs` to be a whole number or 'none', got '1.5'"),
        ("lr=fast", "expected `lr` to be a number, got 'fast'"),
        ("flip=maybe", "expected `flip` to be 'true' or 'false', got 'maybe'"),
        ("train_per_class=few", "train_per_class` to be a whole number or 'none', got 'few'"),
        ("jitter=1;2", "`jitter` to be a number or several with commas between, got '1;2'"),
        ("ramp=cubic", "expected `ramp` to be 'linear' or 'constant', got 'cubic'"),
        ("schedule=linear", "unknown schedule 'linear'; choose from constant, cosine, poly, step"),
        ("loss=idsa", "unknown loss 'idsa'; did you mean 'isda'"),
        ("metrics=error,eror", "unknown metric 'eror'; did you mean 'error'"),
        ("lr=-1", "expected `lr` > 0, got -1"),
        ("loss=explicit", "loss=explicit expects num_samples=..."),
        ("epoch=3", "unknown field 'epoch'; did you mean 'epochs'?"),
        ("learning_rate=3", "unknown field 'learning_rate'; did you mean 'lr'?"),
        ("lambda=2", "unknown field 'lambda'; did you mean 'strength' or 'ai_weight'?"),
        ("loss.strenth=3", "unknown field 'loss.strenth'; did you mean 'loss.strength'?"),
        ("views=3", "this recipe has no field 'views'; add method=ait"),
        ("vievs=3", "unknown field 'vievs'; did you mean 'views' of method=ait"),
        ("qqq=3", "recipe: unknown field 'qqq'; see: semaug list recipe RECIPE"),
        ("seeds=3", "`seeds` is no field of a recipe; train takes seed=1 as a word of its own"),
        ("data_root=a", "`data_root` is no field of a recipe; commands take --data-root"),
        ("schedule.lr_factor=3", "no field 'schedule.lr_factor'; add schedule=step"),
    ],
)
def test_mistakes_are_named(text, message):
    found = message_of(text)
    assert found.startswith("recipe: ")
    assert message in found


def test_mistakes_name_the_recipe_and_the_command_that_prints_its_fields():
    recipe = find_recipe("digits_resnet8")
    for name, shown in (("digits_resnet8", "digits_resnet8"), ("a b/r.py:c", "'a b/r.py:c'")):
        with pytest.raises(UserError) as error:
            override(recipe, {"epoch": "3"}, name)
        assert str(error.value) == (
            f"recipe {name}: unknown field 'epoch'; did you mean 'epochs'? "
            f"see: semaug list recipe {shown}"
        )
    for changes, reason in (
        ({"epochs": "0"}, "expected `epochs` >= 1, got 0"),  # of a spec, which knows no name
        ({"loss": "idsa"}, "unknown loss 'idsa'; did you mean 'isda'?"),
        ({"zzzzz": "1"}, "unknown field 'zzzzz'; see: semaug list recipe digits_resnet8"),
        ({"optimizer.zzz": "1"}, "unknown field 'optimizer.zzz'; see: semaug list recipe digits_r"),
    ):
        with pytest.raises(UserError) as error:
            override(recipe, changes, "digits_resnet8")
        assert str(error.value).startswith(f"recipe digits_resnet8: {reason}")


@pytest.mark.parametrize("text", ["epochs", "epochs=", "=3"])
def test_a_change_has_a_field_and_a_value(text):
    with pytest.raises(UserError) as error:
        split_overrides([text])
    assert str(error.value) == f"semaug: expected FIELD=VALUE, such as epochs=20, got {text!r}"


def test_a_field_is_changed_once():
    assert "expected `loss.strength` once, got it twice" in message_of(
        "strength=1", "loss.strength=2"
    )
    with pytest.raises(UserError, match="expected `epochs` once, got it twice"):
        split_overrides(["epochs=1", "epochs=2"])


# Specs.


@pytest.mark.parametrize("name", ["loss", "loss.name"])
def test_another_loss_has_its_own_options(name):
    assert change(f"{name}=cross_entropy").loss == CrossEntropy()
    changed = change(f"{name}=isda", "strength=0.3", recipe="digits_resnet8")
    assert changed.loss == ISDA(strength=0.3)
    assert change(f"{name}=isda", "ramp=constant").loss == ISDA(strength=0.5, ramp="constant")
    assert "strength=..." in message_of(f"{name}=isda", recipe="digits_resnet8")
    message = message_of(f"{name}=explicit", recipe="digits_resnet8")
    assert "loss=explicit expects strength=... num_samples=..." in message
    no_strength = message_of("strength=0.3", recipe="digits_resnet8")
    assert "this recipe has no field 'strength'; add loss=isda or loss=explicit" in no_strength


def test_what_specs_share_is_kept_but_for_defaults_of_their_own():
    recipe = change("warmup_epochs=3", "layer_decay=0.5", "momentum=0.5", "lr=0.3")
    changed = override(recipe, {"optimizer": "adamw", "schedule": "constant"})
    assert changed.optimizer == AdamW(layer_decay=0.5)  # not the rate of SGD
    assert changed.schedule.warmup_epochs == 3
    explicit = override(recipe, {"ramp": "constant", "loss": "explicit", "num_samples": "3"}).loss
    assert explicit == Explicit(strength=0.5, ramp="constant", num_samples=3)
    together = override(recipe, {"method": "dml", "peers": "resnet8_cifar", "ai_weight": "9"})
    assert override(together, {"method": "multi_ait"}).method == MultiAIT(
        peers=(networks.make("resnet8_cifar"),)
    )


def test_another_policy_drops_the_options_of_the_old_one():
    on = change("policy=randaugment", "randaugment_magnitude=14")
    assert (on.augment.randaugment_ops, on.augment.randaugment_magnitude) == (2, 14)
    off = override(on, {"policy": "autoaugment_cifar10"}).augment
    assert (off.randaugment_ops, off.randaugment_magnitude) == (None, None)


def test_another_length_takes_the_place_of_the_old_one():
    recipe = find_recipe("cifar10_5k_resnet20")
    steps = override(recipe, {"steps": "100", "evaluate_every_steps": "20"})
    assert (steps.epochs, steps.steps, steps.evaluate_every_epochs) == (None, 100, 1)
    epochs = override(steps, {"epochs": "3"})
    assert (epochs.epochs, epochs.steps, epochs.evaluate_every_steps) == (3, None, None)
    assert "either `epochs` or `steps`, got epochs=3 and steps=4" in message_of(
        "epochs=3", "steps=4"
    )


def test_choices_inside_of_choices_are_reached():
    data = change(f"data={HERE}:Rotated").data
    assert data == Rotated(images=Noisy())
    data = change(f"data={HERE}:Rotated", "noise=0.1", "angles=1,2").data
    assert data == Rotated(images=Noisy(noise=0.1), angles=(1, 2))
    recipe = change(f"data={HERE}:Rotated", "data.images=digits")
    assert recipe.data == Rotated(images=data_sets.make("digits"))
    noisy = override(recipe, {"images": f"{HERE}:Noisy", "data.images.noise": "0.2"})
    assert noisy.data == Rotated(images=Noisy(noise=0.2))
    assert override(noisy, {"data.images.noise": "50%"}).data.images.noise == 0.1
    assert describe_overrides(noisy, {"images": "digits", "noise": "1"}) == {
        "images": f"{HERE}:Noisy",
        "noise": "0.2",
    }


def test_options_of_strangers_are_read_by_their_types():
    def read(text):
        return change(f"data={HERE}:Rotated", text).data

    assert (read("keep=3").keep, read("keep=half").keep, read("keep=none").keep) == (
        3,
        "half",
        None,
    )
    assert read("named=true,false").named == (True, False)
    assert "`anything` to be set in Python, got '3'" in message_of(
        f"data={HERE}:Rotated", "anything=3"
    )


# Names.


def test_the_rate_of_a_loss_is_never_mistaken_for_that_of_the_optimizer():
    message = message_of(f"loss={HERE}:OwnRate", "lr=0.7")
    assert "`lr` is a field of several groups of this recipe" in message
    assert "expected loss.lr or optimizer.lr" in message
    recipe = change(f"loss={HERE}:OwnRate", "loss.lr=0.7", "optimizer.lr=0.2")
    assert (recipe.loss.lr, recipe.optimizer.lr) == (0.7, 0.2)
    with pytest.raises(UserError, match=r"expected loss\.lr or optimizer\.lr"):
        override(recipe, {"lr": "0.7"})
    assert describe_overrides(recipe, {"loss.lr": "", "optimizer.lr": ""}) == {
        "loss.lr": "0.7",
        "optimizer.lr": "0.2",
    }


def test_the_rate_of_every_recipe_is_that_of_its_optimizer():
    for name in recipe_names():
        changed = override(find_recipe(name), {"lr": "0.7"})
        own = changed.optimizer if hasattr(changed, "optimizer") else changed.generator
        assert own.lr == 0.7, name


def test_every_option_is_reached_by_its_dotted_name_and_described():
    for name in ("digits_resnet8_isda", "cifar10_resnet32_ait", "imagenet_resnet50"):
        recipe = find_recipe(name)
        told = describe_fields(recipe)
        assert {"epochs", "loss", "optimizer.lr", "subset.hold_out"} <= told.keys()
        for option, text in told.items():
            assert len(text.meaning) > 5
            assert "`" not in text.meaning
            if "." in option:
                written = describe_overrides(recipe, {option: ""})
                assert list(written) == [option.rpartition(".")[2]]  # which no other group has
                assert describe_overrides(recipe, written) == written
                assert override(recipe, written) == recipe
    assert told["loss"] == ("cross_entropy", "the name of a loss", "cross_entropy", told["loss"][3])
    assert told["loss"].meaning == "Loss, see semaug list losses."
    assert told["clip_norm"][:3] == ("none", "a number or 'none'", "none")
    assert told["network"].default is None


def test_synonyms_lead_to_fields_that_exist():
    specs = (Recipe, Augment, ISDA, Subset, SGD, Cosine, Step, networks.get("resnet8_cifar"))
    known = {one.name for spec in specs for one in fields(spec)} | {"ai_weight"}
    assert {name for meant in _SYNONYMS.values() for name in meant.split(" or ")} <= known
    assert known.isdisjoint(_SYNONYMS)


def test_options_that_a_recipe_does_not_have_are_left_out():
    changes = {"strength": "0.3", "epochs": "3", "loss.ramp": "constant", "nothing": "1"}
    assert applicable(find_recipe("digits_resnet8"), changes) == {"epochs": "3"}
    assert applicable(find_recipe("digits_resnet8_isda"), changes) == {
        name: text for name, text in changes.items() if name != "nothing"
    }
    chosen = {"loss": "isda", "strength": "0.3"}
    assert applicable(find_recipe("digits_resnet8"), chosen) == chosen
    own = ["loss.strength", "epochs"]
    kept = {"loss.ramp": "constant"}
    assert applicable(find_recipe("digits_resnet8_isda"), changes, own) == kept


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
    [
        ({"jitter": "0.1,0.2"}, "jitter", True),
        ({"schedule": "step", "milestones_percent": "50,75"}, "milestones_percent", True),
        ({"metrics": "error,miou"}, "metrics", True),
        ({"strength": "0.1,0.2"}, "strength", False),
        ({"loss": "isda,cross_entropy"}, "loss", False),
    ],
)
def test_lists_are_told_from_several_values(changes, name, expected):
    assert takes_list(find_recipe("digits_resnet8_isda"), changes, name) is expected


# Writing.


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"lr": "1e-1"}, {}),
        ({"lr": "100%", "epochs": "3"}, {"epochs": "3"}),
        ({"loss": "isda", "strength": "0.25"}, {"strength": "0.25"}),
        ({"epochs": "50%"}, {"epochs": "15"}),
        ({"steps": "100"}, {"steps": "100"}),
        ({"loss": "cross_entropy"}, {"loss": "cross_entropy"}),
        (
            {"loss": "explicit", "strength": "0.5", "num_samples": "3"},
            {"loss": "explicit", "num_samples": "3"},  # the strength is that of ISDA
        ),
        (
            {"loss": "explicit", "strength": "0.25", "num_samples": "3"},
            {"loss": "explicit", "strength": "0.25", "num_samples": "3"},
        ),
    ],
)
def test_changes_that_change_nothing_are_left_out(changes, kept):
    base = find_recipe("digits_resnet8_isda")
    assert describe_overrides(override(base, changes), changes, base) == kept


def test_however_a_value_is_given_it_is_written_in_one_way():
    texts = ["lr=2e-1", "loss.strength=.50", "channels_last=TRUE", "epochs=07", "jitter=.1,1"]
    changes = split_overrides([*texts, "metrics=error,top5_error", "clip_norm=1e30", "loss=isda"])
    recipe = override(find_recipe("digits_resnet8_isda"), changes)
    assert describe_overrides(recipe, changes) == {
        "lr": "0.2",
        "strength": "0.5",
        "channels_last": "true",
        "epochs": "7",
        "jitter": "0.1,1",
        "metrics": "error,top5_error",
        "clip_norm": "1e+30",
        "loss": "isda",
    }
    assert (
        override(find_recipe("digits_resnet8_isda"), describe_overrides(recipe, changes)) == recipe
    )


# Parts.


def test_numbers_may_be_a_part_of_what_they_were():
    recipe = find_recipe("cifar10_5k_resnet20,epochs=200")
    changed = override(recipe, {"epochs": "30%", "lr": "50%", "train_per_class": "20%"})
    found = changed.epochs, changed.optimizer.lr, changed.subset.train_per_class
    assert found == (60, 0.05, 100)
    # The same folder as for the number itself.
    assert describe_overrides(changed, {"epochs": "30%"}) == {"epochs": "60"}
    assert override(recipe, {"optimizer": "adamw", "lr": "50%"}).optimizer.lr == 0.0005


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs=33.3%", "expected a whole number as `epochs`, got 33.3% of 200, 66.6"),
        ("epochs=a%", "expected `epochs` to be percent, such as 50%, got 'a%'"),
        ("epochs=1/0%", "expected `epochs` to be percent, such as 50%, got '1/0%'"),
        ("precision=50%", "expected `precision` to be a number in this recipe"),
        ("clip_norm=50%", "for 50% of it, got none"),
        ("nesterov=50%", "for 50% of it, got true"),
        ("network=50%", "unknown network '50%'"),
    ],
)
def test_parts_of_what_is_no_number_are_refused(text, message):
    assert message in message_of(text, recipe="cifar10_5k_resnet20,epochs=200")


def test_a_spec_that_was_chosen_has_the_part_of_its_default():
    message = message_of("loss=isda", "strength=50%", recipe="digits_resnet8")
    assert "expected `strength` to be a number in this recipe, for 50% of it, got none" in message
    assert losses.name_of(find_recipe("digits_resnet8").loss) == "cross_entropy"
