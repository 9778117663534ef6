"""The training loop of classification, semi-supervised learning and segmentation.

What a run becomes depends on its recipe and its seed, and not on how often it was stopped:
what is drawn depends on the epoch (:mod:`semaug.engine.seeding`), and a checkpoint holds
all the rest (:mod:`semaug.engine.session`), in the middle of an epoch too.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from semaug._torch.distributed import sum_over_ranks
from semaug.average import WeightAverage
from semaug.engine.build import Builder, compile_steps, synchronize_batch_norm
from semaug.engine.device import count_workers, gradients
from semaug.engine.frozen import features_in_place_of_images
from semaug.engine.fsdp import clip_gradients, let_go, share_out
from semaug.engine.measure import measure
from semaug.engine.memory import reset_peak_memory
from semaug.engine.optimizers import parameter_groups
from semaug.engine.session import Session
from semaug.engine.start import Start
from semaug.engine.streams import Streams
from semaug.engine.whitening import kept_whitening
from semaug.methods import StepOutput, Term


def fit(start: Start) -> dict[str, Any]:
    """Train a method to its end and return the summary of the run."""
    recipe, seed, fabric, processes = start.recipe, start.seed, start.fabric, start.processes

    # Data, plan, networks, probe, losses, method, optimizer: in this order.
    reset_peak_memory(start.device)
    data = start.load_data()
    workers = count_workers(start.options.workers)
    kept = kept_whitening(start.run, start.device)
    streams = Streams(recipe, data, workers, processes.rank, processes.size, kept)
    start.whiten = streams.whiten
    plan = streams.plan
    processes.check_batches(plan)
    example_images = streams.example_images()
    start.image = tuple(example_images.shape[1:])
    begins = not start.run.checkpoint.exists()
    builder = Builder(recipe, data, plan, example_images, seed, begins=begins)
    method = builder.method()
    start.pretrained = builder.pretrained
    method.to(start.device).to(memory_format=streams.layout)
    if recipe.sync_batch_norm and processes.size > 1:
        method = synchronize_batch_norm(method, start.device)
    pictures = streams.test_pictures
    streams = features_in_place_of_images(start, method, streams)
    fabric.strategy.precision.convert_module(method)
    networks = nn.ModuleList(method.networks())
    objects: dict[str, Any] = {"method": method}
    if recipe.ema_decay is not None:
        objects["average"] = WeightAverage(networks, recipe.ema_decay)
    average = objects.get("average")
    if processes.fsdp:
        share_out(method, [average] if average else [], start.device)
    optimizer = recipe.optimizer.build(parameter_groups(recipe.optimizer, method))
    objects["optimizer"] = optimizer
    if recipe.compile:
        compile_steps(method)
    learning_rate = recipe.schedule.build(plan)
    wrapped_method: Any = method if processes.fsdp else fabric.setup_module(method)
    if not processes.fsdp:
        wrapped_method.mark_forward_method("loss")
        wrapped_method.mark_forward_method("predict_each")
    wrapped_optimizer: Any = fabric.setup_optimizers(optimizer)
    if recipe.precision == "fp16":
        objects["scaler"] = fabric.strategy.precision
    metrics = builder.metrics(method)
    measures = [(one.name, one.unit, one.better) for one in metrics]

    def predict(images: Tensor) -> dict[str, Tensor]:
        with fabric.autocast():
            outputs: dict[str, Tensor] = wrapped_method.predict_each(images)
        let_go(networks)
        return outputs

    predictors = list(method.predictors())
    fast_gradients = gradients(recipe, start.device, method)
    session = Session(
        start,
        plan,
        objects,
        measures,
        predictors=predictors,
        training={
            metrics[0].name + f"_{name}" * (name != "labeled"): builder.metrics(method)[0]
            for name in plan.streams
        },
        buffers=[networks] if average is None else [networks, average],
    )
    with streams, session:
        for epoch in session.epochs():
            # The steps of one epoch, or what is left of them.
            method.train()
            if session.step == 0:
                method.start_epoch(epoch)
            batches = streams.train_batches(seed, epoch, session.step)
            for batch, truths in session.reading(batches):
                session.begin_step()
                for group in optimizer.param_groups:
                    rate = learning_rate(recipe.optimizer.lr, session.total_step)
                    group["lr"] = rate * group["lr_scale"]

                wrapped_optimizer.zero_grad()
                with fabric.autocast(), fast_gradients:
                    output = wrapped_method.loss(batch)
                values = _values_of_step(output, streams.shares(batch, session.step))
                fabric.backward(values["loss"] * processes.size)  # gradients are averaged
                if recipe.clip_norm is not None:
                    if "scaler" in objects:  # Fabric would refuse fused optimizers, torch does not
                        objects["scaler"].scaler.unscale_(optimizer)
                    parameters = [x for group in optimizer.param_groups for x in group["params"]]
                    clip_gradients(parameters, recipe.clip_norm)
                wrapped_optimizer.step()
                let_go(networks)
                method.after_step(batch, output)
                if average is not None:
                    average.update(networks)

                counted = dict(zip(plan.streams, session.training.values(), strict=True))
                streams.count(counted, output, batch, truths, method.align_corners)
                session.count_step(values)
                session.pause()
            if not session.ended:  # as it is where a test was stopped
                method.end_epoch()
            session.finish_steps()

            # What the loss does to images, and the test.
            method.eval()
            with fabric.autocast():
                found = method.diagnostics(partial(streams.sample_batch, seed, epoch))
            let_go(networks)
            results = by_class = None
            if len(data.test) and plan.is_evaluated(epoch + 1):
                session.begin_test()
                keeper = builder.keeper(method) if epoch + 1 == plan.epochs else None
                with average.in_place_of(networks) if average else nullcontext():
                    tested = measure(
                        predict,
                        builder.evaluator(method),
                        streams.test_batches(),
                        partial(builder.metrics, method),
                        predictors,
                        session.stops,
                        keeper,
                    )
                session.stop_in_test()
                results, by_class = tested.merged(processes.sum_tensor, data.test.classes)
                if keeper is not None:
                    session.keep(keeper, pictures)
            rate = learning_rate(recipe.optimizer.lr, session.total_step - 1)
            session.finish_epoch(results, by_class, lr=rate, **found)
        return session.summary()


def _values_of_step(output: StepOutput, shares: Mapping[str, float]) -> dict[str, Tensor]:
    """Return the loss, its terms if there are several, and logs.

    Each is this process's share of the mean over the joint batch of its stream.
    """
    terms = {f"loss_{name}": _share_of_mean(term, shares) for name, term in output.terms.items()}
    loss: Any = sum(terms.values())
    usual = "labeled" if "labeled" in shares else next(iter(shares))
    logs = {
        name: _share_of_mean(value if isinstance(value, Term) else Term(value, usual), shares)
        for name, value in output.logs.items()
    }
    return {"loss": loss, **(terms if len(terms) > 1 else {}), **logs}


def _share_of_mean(term: Term, shares: Mapping[str, float]) -> Tensor:
    """Return a process's share of the mean over the joint batch. All processes must call this."""
    if term.size is None:
        return term.value * shares[term.stream]
    total = sum_over_ranks(term.size.detach().clone())
    return term.value * (term.size / total.clamp(min=torch.finfo(total.dtype).tiny))
