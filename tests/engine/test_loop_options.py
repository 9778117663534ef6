"""Tests of what a recipe can ask of the loop: averaged weights, clipping, mixing and the rest."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager

from semaug.engine.optimizers import SGD, AdamW
from semaug.engine.schedules import Constant
from semaug.engine.trained import load_trained
from semaug.methods import Supervised
from semaug.runs.checkpoint import load_checkpoint
from tests.engine import toys
from tests.engine.same import assert_same, without_times
from tests.tiny import rows_of, train_quietly


def objects_of(run):
    return load_checkpoint(run.checkpoint)["objects"]


def method_of(run):
    return objects_of(run)["method"]


def test_averaging_tests_other_weights_and_trains_the_same(train_tiny):
    plain = train_tiny("digits_resnet8", "test_images=none", root="plain")
    averaged = train_tiny("digits_resnet8", "test_images=none", "ema_decay=0.99", root="averaged")
    assert_same(method_of(plain), method_of(averaged))
    errors = [[row["test_error"] for row in rows_of(run)] for run in (plain, averaged)]
    assert errors[0] != errors[1]
    assert objects_of(averaged)["average"]["_extra_state"] == {"num_averaged": 12}


def test_an_average_that_forgets_at_once_changes_nothing(train_tiny):
    plain = train_tiny("digits_resnet8", root="plain")
    averaged = train_tiny("digits_resnet8", "ema_decay=0", root="averaged")
    assert without_times(rows_of(plain)) == without_times(rows_of(averaged))


def test_all_networks_of_a_method_are_averaged(train_tiny):
    changes = ["method=dml", "peers=resnet20_cifar", "test_images=none"]
    plain = train_tiny("digits_resnet8", *changes, root="plain")
    averaged = train_tiny("digits_resnet8", *changes, "ema_decay=0.9", root="averaged")
    assert_same(method_of(plain), method_of(averaged))
    for name in ("test_error", "test_error_network_2"):
        errors = [[row[name] for row in rows_of(run)] for run in (plain, averaged)]
        assert errors[0] != errors[1]
    average = objects_of(averaged)["average"]
    trained = load_trained(averaged.folder)
    for place, network in enumerate(trained.method.network):
        for name, value in network.state_dict().items():
            assert torch.equal(value, average[f"averaged.0.{place}.{name}"])
    results = trained.test()
    assert results[""]["error"] == rows_of(averaged)[-1]["test_error"]
    assert results["network 2"]["error"] == rows_of(averaged)[-1]["test_error_network_2"]


def test_gradients_are_clipped_to_the_norm(train_tiny):
    plain = train_tiny("digits_resnet8", root="plain")
    loose = train_tiny("digits_resnet8", "clip_norm=1e6", root="loose")
    assert_same(method_of(plain), method_of(loose))
    options = ["momentum=0", "nesterov=false", "weight_decay=0", "epochs=1"]
    tight = train_tiny("digits_resnet8", *options, "lr=1", "clip_norm=1e-3", root="tight")
    tight = method_of(tight)
    free = method_of(train_tiny("digits_resnet8", *options, "lr=1e-30", root="free"))
    moved = sum(
        float((tight[name] - free[name]).square().sum())
        for name in tight
        if "running" not in name and tight[name].is_floating_point()
    )
    assert 0 < moved**0.5 <= 4 * 1e-3 * 1.001  # 4 steps, a cosine below lr=1


def test_warm_up_shows_in_the_rates(train_tiny):
    run = train_tiny("digits_resnet8", "warmup_epochs=2", "schedule=step", "lr=0.8")
    rates = [row["lr"] for row in rows_of(run)]
    # Milestones at steps 6 and 9 of 12; 8 steps of warm-up.
    assert rates == pytest.approx([0.8 * 4 / 8, 0.08, 0.008])


def test_the_schedule_moves_every_group_by_its_scale(make_run, monkeypatch):
    rates = []
    step = torch.optim.SGD.step

    def step_and_note(self, *arguments):
        rates.append([group["lr"] for group in self.param_groups])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", step_and_note)
    run = make_run("digits_resnet8", "epochs=2", "schedule=poly", "power=1")
    spec = SGD(lr=0.8, layer_decay=0.5)
    train_quietly(replace(run, recipe=replace(run.recipe, optimizer=spec)))
    scales = [rate / rates[0][0] for rate in rates[0]]
    assert len(set(scales)) > 3
    assert max(rates[0]) == 0.8
    for number, now in enumerate(rates):
        assert now == pytest.approx([rate * (1 - number / 8) for rate in rates[0]])


@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
def test_other_optimizers_train_and_go_on(train_tiny, optimizer):
    run = train_tiny("digits_resnet8", f"optimizer={optimizer}", "epochs=2", "decay_norms=false")
    state = objects_of(run)["optimizer"]
    assert "exp_avg" in state["state"][0]
    assert [group["weight_decay"] for group in state["param_groups"]][1] == 0
    assert rows_of(run)[1]["train_loss"] < rows_of(run)[0]["train_loss"]


def test_parameters_of_a_loss_learn_with_a_rate_of_their_own(make_run):
    run = make_run("digits_resnet8", "epochs=1", "momentum=0", "nesterov=false", "weight_decay=0")
    run = replace(run, recipe=replace(run.recipe, loss=toys.Offset(lr=0.3), schedule=Constant()))
    train_quietly(run)
    state = objects_of(run)
    groups = state["optimizer"]["param_groups"]
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.3])
    assert state["method"]["criterion.offset"].item() == pytest.approx(-4 * 0.3)


@pytest.mark.full
def test_compiled_training_is_training(train_tiny, monkeypatch):
    """Each function once for each size of a batch, whatever the number of steps and epochs."""
    compiled, graphs = [], []
    compile = torch.compile

    def count(graph, inputs):
        graphs.append(graph)
        return aot_eager(graph, inputs)

    def compile_and_note(function, *, dynamic):
        compiled.append((function.__name__, dynamic))
        return compile(function, backend=count, dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", compile_and_note)
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    changes = ["network=tests.engine.toys:Plain", "epochs=2"]
    for number, method in enumerate(([], ["method=ait"])):
        eager = train_tiny("digits_resnet8_isda", *changes, *method, root=f"eager{number}")
        run = train_tiny(
            "digits_resnet8_isda", *changes, *method, "compile=true", root=f"compiled{number}"
        )
        assert compiled == [("loss", False), ("predict_each", False)]
        assert len(graphs) == 3  # batches of 32 and of 4, and the test
        for row, other in zip(rows_of(run), rows_of(eager), strict=True):
            assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
        assert method_of(run).keys() == method_of(eager).keys()
        compiled.clear()
        graphs.clear()
    assert not torch._dynamo.utils.counters["graph_break"]
    torch.compiler.reset()


def test_mixing_reaches_isda_as_soft_targets(make_run, monkeypatch):
    shapes = []
    loss = Supervised.loss

    def loss_and_note(self, batch):
        shapes.append(batch.labeled.targets.shape)
        return loss(self, batch)

    monkeypatch.setattr(Supervised, "loss", loss_and_note)
    run = make_run("digits_resnet8_isda", "mixup=0.4", "cutmix=1")
    assert train_quietly(run)["finished"]
    assert shapes == 3 * [(32, 10), (32, 10), (32, 10), (4, 10)]


def test_an_optimizer_of_timm_is_recorded_by_its_name(train_tiny):
    recipe = train_tiny("digits_resnet8", "optimizer=lion", "epochs=1").summary()["recipe"]
    assert recipe["optimizer"]["name"] == "lion"
    assert recipe["optimizer"]["lr"] == AdamW().lr
