"""The training loop of detectors: images of many sizes, with boxes and perhaps masks.

What is drawn depends on the seed, the step and the image's place in it alone, and the checkpoint
holds the detector and its optimizer, so a run goes on at any step, in the middle of an epoch too,
with any number of processes. Each takes a piece of every batch, and whole batches of the test.
"""

import math
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug.data.colors import class_colors
from semaug.data.workers import Reader
from semaug.detection.backbone import backbone_of
from semaug.detection.boxes import Detections
from semaug.detection.detector import Detector
from semaug.detection.images import Batches, SceneFiles, describe_scenes, load_scenes
from semaug.detection.pictures import LEAST_SCORE, draw_objects
from semaug.detection.recipe import DetectionRecipe, measures_of
from semaug.detection.scenes import SceneData, Scenes
from semaug.detection.scores import Scores
from semaug.engine.device import count_workers
from semaug.engine.images import names_of_files
from semaug.engine.memory import reset_peak_memory
from semaug.engine.optimizers import parameter_groups
from semaug.engine.preprocessing import form_of
from semaug.engine.seeding import derive_seed
from semaug.engine.session import Results, Session
from semaug.engine.start import Start
from semaug.errors import as_user_error
from semaug.export.backbone import HEADS_LEFT, BackboneReport
from semaug.keepers import PictureKeeper
from semaug.recipe.plan import StreamPlan, make_plan
from semaug.runs.words import say_once

_COLUMNS = "image", "truth", f"prediction, scores from {LEAST_SCORE}"


def fit(start: Start) -> dict[str, Any]:
    """Train a detector to its end and return the summary of the run."""
    recipe, seed, device, processes = start.recipe, start.seed, start.device, start.processes
    begins = not start.run.checkpoint.exists()
    file = recipe.find_weights(start.run.root) if begins else None

    # Data, plan, network, optimizer: in this order.
    reset_peak_memory(device)
    data = _load(start)
    mean, std = normalization(recipe, data)
    facts = {"classes": list(data.classes), "mean": list(mean), "std": list(std)}
    start.described = {**describe_scenes(data), "input": facts}
    batches = Batches(data.train.sizes, recipe.batch_size, recipe.flip, seed)
    plan = make_plan(recipe, {"labeled": StreamPlan(batches.num_images, recipe.batch_size)})
    processes.check_batches(plan)
    pieces = torch.arange(recipe.batch_size).tensor_split(processes.size)
    own = tuple(pieces[processes.rank].tolist())
    detector = (
        _begin(start, file, data.num_classes)
        if begins
        else build_detector(recipe, data.num_classes)
    )
    layout, dtype = form_of(recipe)
    detector.to(device, dtype).to(memory_format=layout)
    trained = [one for one in detector.parameters() if one.requires_grad]
    parts: Any = SimpleNamespace(
        networks=lambda: [detector], parameter_groups=lambda: [{"params": trained}]
    )
    optimizer = recipe.optimizer.build(parameter_groups(recipe.optimizer, parts))
    learning_rate = recipe.schedule.build(plan)
    wrapped: Any = start.fabric.strategy.setup_module(detector)
    reader = _reader(start, data, data.train, masks=recipe.detector.masks, own=own)
    tester = _reader(start, data, data.test)
    measures: Any = [(name, "%", "higher") for name in measures_of(recipe.detector)]
    objects = {"detector": detector, "optimizer": optimizer}

    session = Session(start, plan, objects, measures, buffers=[detector])
    with closing(reader), closing(tester), session:
        for epoch in session.epochs():
            # The steps of one epoch, or what is left of them.
            detector.train()
            first = session.total_step
            requests = batches.between(first, first + plan.steps_in(epoch) - session.step)
            answers = session.reading(reader.read(requests))
            for _, (images, sizes, targets) in zip(session.steps(), answers, strict=True):
                for group in optimizer.param_groups:
                    rate = learning_rate(recipe.lr, session.total_step)
                    group["lr"] = rate * group["lr_scale"]

                images = images.to(device, dtype, memory_format=layout)
                draws = [session.generator(f"samples {k}", session.total_step) for k in own]
                with start.fabric.autocast():  # pooling, coding of boxes and losses are in float32
                    losses = wrapped(images, sizes, targets, draws)
                loss = sum(losses.values())
                optimizer.zero_grad()
                loss.backward()
                if recipe.clip_norm is not None:
                    nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
                optimizer.step()

                values = {"loss": loss, **{f"loss_{k}": x for k, x in losses.items()}}
                session.count_step(values, 1 / processes.size)
                session.pause()

            results = by_class = None
            if len(data.test) and plan.is_evaluated(epoch + 1):
                session.begin_test()
                is_last = epoch + 1 == plan.epochs
                keeper = PictureKeeper(len(data.test), _COLUMNS) if is_last else None
                results, by_class = _test(
                    start, detector, tester, data.test, session.stop_in_test, keeper
                )
                if keeper is not None:
                    names = names_of_files(data.test.paths), data.classes
                    session.keep(keeper.to(device), names=names)
            rate = learning_rate(recipe.lr, session.total_step - 1)
            session.finish_epoch(results, by_class, lr=rate)
        return session.summary()


def evaluate(start: Start, state: dict[str, Any]) -> Results:
    """Test the detector of a finished run again.

    Args:
        start: Of the run.
        state: Objects of its checkpoint, by name.
    """
    data = _load(start)
    start.check_images(describe_scenes(data))
    detector = build_detector(start.recipe, data.num_classes)
    detector.load_state_dict(state["detector"])
    layout, dtype = form_of(start.recipe)
    detector.to(start.device, dtype).to(memory_format=layout)
    with closing(_reader(start, data, data.test)) as tester:
        return _test(start, detector, tester, data.test)[0]


def build_detector(recipe: DetectionRecipe, num_classes: int) -> Detector:
    """Build the detector of a recipe, for the weights of a checkpoint to replace."""
    with torch.random.fork_rng(devices=[]):
        detector: Detector = recipe.detector.build(backbone_of(recipe.backbone)[0], num_classes)
    return detector


def normalization(
    recipe: DetectionRecipe, data: SceneData
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation that the backbone wants, on a scale of 0 to 1."""
    wanted = recipe.preprocessing or data
    return wanted.mean, wanted.std


def _load(start: Start) -> SceneData:
    return load_scenes(start.run, start.options, lambda line: say_once(start.console, line))


def _begin(start: Start, file: Path | None, num_classes: int) -> Detector:
    """Build the detector with weights of its backbone, of a file or, if there is none, of timm."""
    recipe = start.recipe
    torch.manual_seed(derive_seed(start.seed, "weights"))
    fetches = recipe.pretrained and file is None
    remedy = "timm has no weights here; give a file by weights=FILE, or connect to the internet: "
    context = f"recipe: backbone={recipe.backbone}: {remedy if fetches else ''}"
    with as_user_error(context, OSError, RuntimeError, ValueError):
        backbone, report = backbone_of(recipe.backbone, file, pretrained=fetches)
        detector: Detector = recipe.detector.build(backbone, num_classes)
    if fetches:
        names = tuple(backbone.body.state_dict())
        origin: Any = {
            "file": f"timm: {recipe.backbone}",
            "sha256": None,
            "layout": "timm",
            "prefix": "",
        }
        report = BackboneReport(**origin, converted=names, unused=(), missing=(), head=HEADS_LEFT)
    start.pretrained = {} if report is None else {"backbone": report}
    return detector


def _reader(start: Start, data: SceneData, scenes: Scenes, **options: Any) -> Reader:
    files = SceneFiles(scenes, start.recipe.size, *normalization(start.recipe, data), **options)
    workers = count_workers(start.options.workers)
    return Reader(files, workers=workers, pin_memory=start.device.type == "cuda")


@torch.no_grad()
def _test(
    start: Start,
    detector: Detector,
    reader: Reader,
    scenes: Scenes,
    pause: Callable[[], None] = lambda: None,
    keeper: PictureKeeper | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Return the average precisions in images of their original size, and AP of each class."""
    recipe, processes = start.recipe, start.processes
    layout, dtype = form_of(recipe)
    detector.eval()
    scores = Scores(scenes, masks=recipe.detector.masks)
    places = torch.arange(len(scenes)).split(recipe.evaluation_batch_size)
    requests = [[(place, False) for place in some.tolist()] for some in places]
    mine = requests[processes.rank :: processes.size]  # whole, for padding changes last digits
    for request, (images, sizes, _) in zip(mine, reader.read(mine), strict=True):
        images = images.to(start.device, dtype, memory_format=layout)
        own = [scenes.sizes[place] for place, _ in request]
        with start.fabric.autocast():
            answer: Any = detector(images, sizes, original_sizes=own)
        for (place, _), detections in zip(request, answer, strict=True):
            scores.add(scenes.image_ids[place], detections)
            if keeper is not None and keeper.wants(place):
                keeper.update(*_pictures(scenes, place, detections), torch.tensor([place]))
        pause()
    if len(mine) < len(requests[:: processes.size]):  # others have one more
        pause()

    def results(states: list[Any]) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
        for state in states:
            scores.merge(state)
        values, by_class = scores.compute(), scores.by_class()
        found = {name: values[name] for name in measures_of(recipe.detector)}
        return {"": _defined(found)}, _defined({k: one["AP"] for k, one in by_class.items()})

    return processes.reduce_in_first(scores.state(), results)


def _pictures(scenes: Scenes, place: int, found: Detections) -> tuple[Tensor, Tensor]:
    """Return an image, and it with its objects and with what was found, ``(1, 3, h, w, 3)``."""
    image, truth = scenes.read(place, with_masks=found.masks is not None)
    small, colors = PictureKeeper.small(image), class_colors(len(scenes.classes))
    scale = small.shape[1] / image.shape[1]
    pictures = [small.movedim(0, -1)]
    for objects in (truth, found.above(LEAST_SCORE)):
        masks = objects.masks
        if masks is not None and len(masks):
            size = small.shape[1:]
            masks = F.interpolate(masks[:, None].byte(), size, mode="nearest-exact")[:, 0].bool()
        boxes = objects.boxes * scale
        pictures.append(draw_objects(small, boxes, objects.labels, colors, masks))
    return torch.stack(pictures)[None], objects.labels


def _defined(values: dict[str, float]) -> dict[str, float]:
    """Leave out what no object defines."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
