"""Turn the specs of a recipe into networks, losses and a method.

What does not fit together is found here, by trying it on two images, before anything is
written.
"""

from copy import deepcopy
from dataclasses import replace
from types import MethodType
from typing import Any

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn

from semaug._torch.distributed import world_size
from semaug.data import DataSet
from semaug.engine.evaluation import Evaluator
from semaug.engine.pretrained import load_pretrained
from semaug.engine.seeding import derive_seed
from semaug.errors import UserError, as_recipe_error, as_user_error
from semaug.export import BackboneReport
from semaug.features import with_features
from semaug.features.probe import PROBE_ERRORS, run_probe
from semaug.keepers import Keeper
from semaug.methods import Batch, Method
from semaug.metrics import Metric
from semaug.recipe.plan import Plan
from semaug.registry import Sizes, losses, methods, networks


class Builder:
    """Builds what a method is made of, on the CPU; initial weights depend on the seed alone.

    Args:
        recipe: Names networks and losses.
        data: Gives the classes.
        plan: Numbers of steps.
        example_images: ``(N, 3, H, W)`` to try networks on.
        seed: Of the run.
        begins: Whether the run begins, with pretrained weights where its recipe says so; else the
            weights of a checkpoint follow.
    """

    def __init__(
        self,
        recipe: Any,
        data: DataSet,
        plan: Plan,
        example_images: Tensor,
        seed: int,
        *,
        begins: bool = False,
    ) -> None:
        self.recipe, self.data, self.plan, self.seed = recipe, data, plan, seed
        self.example_images = example_images.cpu().float()  # Fabric changes the precision later
        channels, height, width = example_images.shape[1:]
        self.sizes = Sizes(
            num_classes=data.num_classes,
            num_steps=plan.total_steps,
            num_images=data.num_images,
            image=(channels, height, width),
        )
        self.pretrained: dict[str, BackboneReport] = {}  # by network: what they began with
        self.specs: list[Any] = []  # of the networks that were built
        self.begins = begins

    def method(self) -> Method:
        """Build the method of the recipe."""
        return self.recipe.method.build(self)

    def network(self, spec: Any = None, field: str = "network") -> nn.Module:
        """Build a network, and try it on the images.

        The first network begins alike, whatever is built after it.

        Args:
            spec: A name or a spec; None is that of the recipe.
            field: Of the recipe, for messages.

        Raises:
            UserError: If there is none of this name, it cannot take the images, or the weights
                that it begins with cannot be read or do not fit.
        """
        spec = networks.make(spec) if isinstance(spec, str) else spec or self.recipe.network
        self.specs.append(spec)
        which = "" if len(self.specs) == 1 else f" of network {len(self.specs)}"
        torch.manual_seed(derive_seed(self.seed, f"weights{which}"))
        name = f"recipe: {field}={networks.name_of(spec)}"
        with as_user_error(f"{name}: ", TypeError, ValueError):
            network = spec.build(self.sizes)
        if self.begins:
            with as_user_error(f"{name}: ", OSError, ValueError):
                report = load_pretrained(network, spec, self.sizes, self.data)
            if report is not None:
                self.pretrained[f"network{which.removeprefix(' of network')}"] = report
        if hasattr(spec, "freeze_parts"):
            spec.freeze_parts(network)
        size = " x ".join(map(str, self.example_images.shape[1:]))
        context = f"{name} cannot take data={self.data.name} of {size} pixels: "
        with as_user_error(context, *PROBE_ERRORS):
            run_probe(network, self.example_images, {})
        return network

    def trained(self, network: Any = None, field: str = "network") -> nn.Module:
        """Build a network as :meth:`network` does, and try the smallest step of its training.

        Raises:
            UserError: If a process has one image in a step, and the network needs more.
        """
        built = self.network(network, field)
        self._try_last_step(built)
        return built

    def loss(self, num_features: int | None = None, spec: Any = None) -> nn.Module:
        """Build a loss.

        Args:
            num_features: Inputs of the classifier that it belongs to, for a loss that wants them.
            spec: None is that of the recipe.

        Raises:
            UserError: If options do not fit together, or the loss wants features and there are
                none.
        """
        spec = spec or self.recipe.loss
        if num_features is None and getattr(spec, "takes_features", False):
            raise UserError(
                f"recipe: method={methods.name_of(self.recipe.method)} has no features for "
                f"loss={losses.name_of(spec)}"
            )
        with as_recipe_error():
            return spec.build(replace(self.sizes, num_features=num_features))

    def with_loss(
        self, network: Any = None, field: str = "network", *, several_views: bool = False
    ) -> tuple[nn.Module, nn.Module]:
        """Build a network and a loss for it.

        Args:
            network: A name or a spec; None is that of the recipe.
            field: Of the recipe, for messages.
            several_views: Whether each image comes in several views, so that no step has one.

        Returns:
            The network, which returns features too where the loss takes them, and the loss.

        Raises:
            UserError: If the loss needs features and the network has no classifier.
        """
        built = self.network(network, field) if several_views else self.trained(network, field)
        return self.loss_for(built, network, field)

    def loss_for(
        self, built: nn.Module, network: Any = None, field: str = "network"
    ) -> tuple[nn.Module, nn.Module]:
        """Build a loss for a network, and reach its features where the loss takes them.

        Args:
            built: The network.
            network: Its name or spec; None is that of the recipe.
            field: Of the recipe, for messages.

        Raises:
            UserError: If the loss needs features and the network has no classifier.
        """
        wanted = self.recipe.loss
        if not getattr(wanted, "takes_features", False):
            return built, self.loss()
        spec = network or self.recipe.network
        name = spec if isinstance(spec, str) else networks.name_of(spec)
        context = f"recipe: loss={losses.name_of(wanted)} {field}={name}: "
        with as_user_error(context, *PROBE_ERRORS):
            net = with_features(built, example_images=self.example_images)
        bias: Any = net.classifier.bias
        if bias is not None and not getattr(wanted, "head_bias", True):
            # Zero and not trained, but still a part of the state, so that exports fit.
            nn.init.zeros_(bias).requires_grad_(False)
        # Not `network.num_features`: many of timm have layers between that and the classifier.
        return net, self.loss(net.num_features)

    def metrics(self, method: Method) -> list[Metric]:
        """Build what is measured, on the device: of the recipe, or what the method measures.

        Raises:
            UserError: If one is no metric.
        """
        chosen = [spec.build(self.sizes) for spec in self.recipe.metrics]
        found = chosen or method.metrics(self.sizes)
        for metric in found:
            if not (isinstance(metric, Metric) and hasattr(metric, "name")):
                raise UserError(
                    "recipe: expected `metrics` to build a semaug.metrics.Metric with name, unit "
                    f"and better, got {type(metric).__name__}"
                )
        device = self.data.test.labels.device
        return [metric.to(device) for metric in found]

    def evaluator(self, method: Method) -> Evaluator:
        """Build what shows images to the predictors of a method."""
        sizes = replace(self.sizes, align_corners=method.align_corners)
        evaluator: Evaluator = self.recipe.evaluation.build(sizes)
        return evaluator

    def keeper(self, method: Method) -> Keeper | None:
        """Build what keeps something of single test images, if a metric brings it."""
        labels = self.data.test.labels
        found = (metric.keeper(labels) for metric in self.metrics(method))
        return next((keeper for keeper in found if keeper is not None), None)

    def name_of_network(self) -> str:
        """Return the name of the network of the recipe."""
        return networks.name_of(self.recipe.network)

    @torch.no_grad()
    def _try_last_step(self, network: nn.Module) -> None:
        """Try a step of one image, if there is one: batch norm may have no spread to divide by."""
        num_images, batch_size, _ = self.plan.streams[self.plan.counted]
        last = self.plan.joint_size(self.plan.counted, self.plan.steps_per_epoch - 1)
        processes = 1 if self.recipe.sync_batch_norm else world_size()
        if min(batch_size, last) >= 2 * processes:
            return
        several = f" in each of {processes} processes" if processes > 1 else ""
        remedy = ", or use sync_batch_norm=true" if processes > 1 else ""
        context = (
            f"recipe: with batch_size={batch_size} a step has one of {num_images} training "
            f"images{several}, too few for network={self.name_of_network()}; choose another "
            f"batch_size{remedy}: "
        )
        copy = deepcopy(network).train()  # its running statistics are thrown away
        with as_user_error(context, *PROBE_ERRORS), torch.random.fork_rng(devices=[]):
            copy(self.example_images[:1])


def synchronize_batch_norm(method: Any, device: torch.device) -> Any:
    """Make batch norm see the joint batch of all processes, but where it stays in evaluation.

    Raises:
        UserError: If the device is not a GPU, where torch has it.
    """
    if device.type != "cuda":
        raise UserError("recipe: `sync_batch_norm` needs GPUs; torch has none for a CPU")
    fixed = {name: one for name, one in method.named_modules() if "train" in vars(one)}
    method = convert_sync_batchnorm(method)  # torch's own loses the activations of timm's norms
    for name, module in fixed.items():
        method.set_submodule(name, module)
    return method


def compile_steps(method: Any) -> None:
    """Compile the two functions of a method, each with network and loss in one graph.

    The method stays the module that it is, so its parameters keep their names. Each size of
    batch has kernels of its own: with one for all sizes, what a run computes would depend on
    the size that came first, and so on where it was stopped.
    """
    loss = torch.compile(type(method).loss, dynamic=False)
    predict_each = torch.compile(type(method).predict_each, dynamic=False)

    def loss_of(self: Any, batch: Batch) -> Any:
        return loss(self, batch._replace(step=torch.tensor(batch.step)))  # no graph for each step

    for name, function in {"loss": loss_of, "predict_each": predict_each}.items():
        setattr(method, name, MethodType(function, method))
