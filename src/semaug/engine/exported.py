"""An exported network that classifies photographs, without its run."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from semaug.data.views import Exactly, ResizeCenterCrop, View
from semaug.engine.device import choose_device, count_workers, operators
from semaug.engine.evaluation import Evaluator
from semaug.engine.options import TrainOptions
from semaug.engine.predict import Networks
from semaug.engine.preprocessing import form_of, network_input
from semaug.engine.processes import Processes
from semaug.errors import UserError, as_user_error
from semaug.export.formats import FORMATS
from semaug.export.write import ABOUT, FORMAT
from semaug.outside import names_from
from semaug.registry import Registry, Sizes, evaluations, networks
from semaug.runs.files import read_json

_REMEDY = "export the run again"
_MALFORMED = (
    *(ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError),
    AssertionError,  # of torch, about images of another size than a graph takes
)


@dataclass(frozen=True, eq=False)
class Exported(Networks):
    """A network in a folder that :func:`semaug.export.export_run` wrote.

    Args:
        folder: The folder.
        about: What ``model.json`` holds.
        network: Maps images ``(N, 3, H, W)`` to logits ``(N, C)``.
        device: Where the network is.
        evaluator: Shows images to it as the test of the run did.
        processes: This one; its engine knows the precision.
        workers: Processes that decode photographs; 0 decodes in this one.
    """

    folder: Path
    about: Mapping[str, Any]
    network: Callable[[Tensor], Tensor]
    device: torch.device
    evaluator: Evaluator
    processes: Processes
    workers: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return tuple(self.about["classes"])

    @property
    def predictors(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """The network alone, by the name ``""``."""
        return {"": self.network}

    @property
    def view(self) -> View:
        """What makes a picture of a decoded photograph, as of the test images of the run."""
        view = self.about["view"]
        if "resize" in view:
            return ResizeCenterCrop(view["resize"], view["size"])
        return Exactly(view["height"], view["width"])

    @property
    def batch_size(self) -> int:
        """Images of a batch in the test of the run."""
        size: int = self.about["run"]["recipe"]["evaluation_batch_size"]
        return size

    @torch.no_grad()
    def answer(
        self, pictures: Tensor, predictor: str, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Return outputs for pictures ``(N, 3, H, W)`` uint8, evaluated as in the run's test."""
        _, height, width = self.about["image"]
        augment = SimpleNamespace(image_size=height if height == width else None)
        form = SimpleNamespace(**_precision_and_layout(self.about), augment=augment)
        images = network_input(form, SimpleNamespace(**self.about), pictures.to(self.device))
        deterministic = self.about["run"]["recipe"]["deterministic"]
        with operators(self.device, deterministic=deterministic), self.processes.fabric.autocast():
            return self.evaluator(lambda seen: {"": self.network(seen)}, images, size)[""]


def is_exported(folder: str | Path) -> bool:
    """Whether a folder holds an export, not a run."""
    return (Path(folder) / ABOUT).exists()


def load_exported(folder: str | Path, options: TrainOptions | None = None) -> Exported:
    """Load an exported network to classify photographs; code is executed only if it is trusted.

    Args:
        folder: That :func:`semaug.export.export_run` wrote.
        options: Device, processes that decode photographs, and whether a file is read that torch
            may execute code of.

    Raises:
        OSError: If a file cannot be read.
        UserError: If a file is damaged, of another version or not trusted, a package is missing, or
            the network cannot classify photographs without its run.
    """
    folder, options = Path(folder).expanduser(), options or TrainOptions()
    path, device = folder / ABOUT, choose_device(options.device)
    about = read_json(path, _REMEDY)
    number = about.get("format") if isinstance(about, dict) else None
    if number != FORMAT:
        raise UserError(f"{path}: expected an export of format {FORMAT}, got {number}; {_REMEDY}")
    context = f"{path}: expected what semaug export writes; {_REMEDY}: "
    with as_user_error(context, *_MALFORMED):
        chosen, weights = FORMATS[about["to"]], folder / FORMATS[about["to"]].file
        if about["cannot_predict"] is not None:
            raise UserError(
                f"{folder}: this export cannot predict, for {about['cannot_predict']}; the run may"
            )
        if chosen.executes and not options.trust_code:
            raise UserError(
                f"{weights}: torch may execute what such a file holds; if you trust who wrote it, "
                "add --trust-code, in Python trust_code=True"
            )
        with weights.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != about["sha256"]:
                raise UserError(
                    f"{weights}: expected the file that {ABOUT} describes, got another; {_REMEDY}"
                )
        chosen.check_installed()
        form = _precision_and_layout(about)
        layout, _ = form_of(SimpleNamespace(**form))
        network = chosen.load(weights, partial(_build_network, about, layout), device)
        evaluator = _evaluator(about, bool(getattr(network, "align_corners", False)))
        processes, workers = Processes(device, form["precision"]), count_workers(options.workers)
        exported = Exported(folder, about, network, device, evaluator, processes, workers)
        shape = about["view"].get("height", 8), about["view"].get("width", 8)
        image = torch.zeros(3, *shape, dtype=torch.uint8)  # to try it on
        (logits,) = exported.predict(exported.view(image, torch.empty(0))).logits
        if len(logits) != len(exported.classes):
            raise ValueError(f"{len(exported.classes)} classes of {len(logits)} logits")
    return exported


def _precision_and_layout(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return precision and memory format; a graph computes in float32, in its own order."""
    if FORMATS[about["to"]].has_graph:
        return {"precision": "32", "channels_last": False}
    recipe = about["run"]["recipe"]
    return {"precision": recipe["precision"], "channels_last": recipe["channels_last"]}


def _make_spec(registry: Registry, name: str, options: Mapping[str, Any]) -> Any:
    with names_from(None):  # no code from outside is executed
        return registry.make(name, **options)


def _build_network(about: Mapping[str, Any], layout: torch.memory_format) -> nn.Module:
    network = about["network"]
    spec = _make_spec(networks, network["name"], network["options"])
    with torch.random.fork_rng(devices=[]):
        built: nn.Module = spec.build(_sizes(about))
    return built.to(memory_format=layout)


def _evaluator(about: Mapping[str, Any], align_corners: bool) -> Evaluator:
    options = dict(about["run"]["recipe"]["evaluation"])
    spec = _make_spec(evaluations, options.pop("name"), options)
    evaluator: Evaluator = spec.build(replace(_sizes(about), align_corners=align_corners))
    return evaluator


def _sizes(about: Mapping[str, Any]) -> Sizes:
    return Sizes(num_classes=len(about["classes"]), image=tuple(about["image"]))
