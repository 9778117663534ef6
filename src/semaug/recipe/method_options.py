"""Options of a recipe that say what one training step does: how many views, how many networks."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from semaug._torch.names import unknown_name
from semaug.errors import UserError
from semaug.recipe.options import expect

__all__ = ["LAYERS", "METHODS", "METRICS", "VIEW_PARTS", "Method", "options_of_method"]

# What AIT compares, and how, in section 4.2.1.
Layer = Literal["logits", "features", "feature_map"]
Metric = Literal["kl", "euclidean", "both"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
METRICS: tuple[Metric, ...] = get_args(Metric)

# What a view of its own may have, by the letters of Table 5 of AIT; see `view_augments`.
VIEW_PARTS = {
    "p": "padding",
    "g": "grayscale",
    "c": "jitter",
    "a": "policy",
    "o": "cutout",
}

_DEFAULTS: dict[str, dict[str, Any]] = {
    "supervised": {},
    "ait": {
        "views": 2,
        "ai_weight": 1.0,  # section 4.2.2
        "ai_layer": "logits",
        "ai_metric": "kl",
        "ai_target_gradient": True,
        "ai_convention": "paper",
    },
    "multi_ait": {"ai_weight": 3.0, "ai_target_gradient": True},  # section 4.3.3
    "dml": {"ai_weight": 1.0, "ai_target_gradient": False},
}
_OPTIONS = (
    "views",
    "view_augments",
    "ai_weight",
    "ai_layer",
    "ai_metric",
    "ai_target_gradient",
    "ai_convention",
    "peers",
    "peer_weight_decay",
)
# Options without a default, and who has them.
_OPTIONAL = {
    "ait": ("view_augments",),
    "multi_ait": ("view_augments", "peers", "peer_weight_decay"),
    "dml": ("peers", "peer_weight_decay"),
    "supervised": (),
}


# What each is.
_TEXTS = {
    "supervised": "one network sees each image once an epoch, augmented in one way",
    "ait": "augmentation invariant training: one network sees several views of each image and "
    "learns to predict alike",
    "multi_ait": "the same between several networks, each with a view of its own",
    "dml": "deep mutual learning: several networks see one view and learn from each other",
}


def options_of_method(name: str) -> tuple[str, ...]:
    """Return the options that a method has; none of an unknown one."""
    own = (*_DEFAULTS.get(name, ()), *_OPTIONAL.get(name, ()))
    return tuple(option for option in _OPTIONS if option in own)


# Names of methods, each with one line for a person who chooses.
METHODS = {
    name: "; ".join(filter(None, (text, ", ".join(options_of_method(name)))))
    for name, text in _TEXTS.items()
}


@dataclass(frozen=True, kw_only=True)
class Method:
    """What one training step does. An option that a method does not have stays None or empty.

    Args:
        name: Name of the method, see ``semaug list methods``.
        views: Of AIT, how many times each image of a batch is augmented, 2 or more.
        view_augments: What each view has of the augmentation: ``r``, then letters of p
            (padding), g (grayscale), c (jitter), a (policy) and o (cutout), or ``h`` for none of
            them; all flip. ``rp,rg`` crops the first view and grays the second. None: each view
            has all.
        ai_weight: Weight of the divergence between predictions, lambda in the paper: 1 for AIT
            and mutual learning, 3 for multi-AIT.
        ai_layer: Of AIT, what is made alike: ``"logits"``, ``"features"`` or ``"feature_map"``.
        ai_metric: Of AIT, how: ``"kl"``, ``"euclidean"`` or ``"both"``.
        ai_target_gradient: Whether the gradient flows through both sides of a divergence, as the
            formula says, or not through the target, as in mutual learning and in AIT's released
            code.
        ai_convention: Of AIT, whether cross-entropies of the views are summed (``"paper"``) or
            averaged (``"released"``).
        peers: Networks that train beside the first, by name.
        peer_weight_decay: Of each of them; none is that of the first.

    Raises:
        UserError: If the name is unknown, an option is missing, out of range or without effect.
    """

    name: str = "supervised"
    views: int | None = None
    view_augments: tuple[str, ...] = ()
    ai_weight: float | None = None
    ai_layer: Layer | None = None
    ai_metric: Metric | None = None
    ai_target_gradient: bool | None = None
    ai_convention: Literal["paper", "released"] | None = None
    peers: tuple[str, ...] = ()
    peer_weight_decay: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise UserError(unknown_name("recipe", "method", self.name, METHODS))
        defaults = _DEFAULTS[self.name]
        for option in _OPTIONS:
            value = getattr(self, option)
            if option in options_of_method(self.name):
                # Absent options take the papers' choice, so that the run folder states it.
                if value is None:
                    object.__setattr__(self, option, defaults[option])
            elif value not in (None, ()):
                owners = [name for name in METHODS if option in options_of_method(name)]
                raise UserError(
                    f"recipe: `{option}` has no effect on method={self.name}; "
                    f"add method={' or method='.join(owners)}"
                )
        expect("views", self.views, self.views is None or self.views >= 2, ">= 2")
        weight = self.ai_weight
        inside = weight is None or 0 <= weight < float("inf")
        expect("ai_weight", weight, inside, ">= 0")
        if self.ai_metric not in (None, "kl") and not self.ai_target_gradient:
            raise UserError(
                "recipe: expected ai_metric=kl with ai_target_gradient=false, got "
                f"{self.ai_metric}: of a distance it would be half the gradient"
            )
        self._check_view_augments()
        self._check_peers()

    @property
    def num_networks(self) -> int:
        """How many networks train together."""
        return 1 + len(self.peers)

    @property
    def num_views(self) -> int:
        """How many times each image of a batch is augmented."""
        return self.num_networks if self.name == "multi_ait" else self.views or 1

    @property
    def passes_per_image(self) -> int:
        """How often an image of a batch passes through a network, forward."""
        return max(self.num_networks, self.num_views)

    def _check_view_augments(self) -> None:
        kinds = self.view_augments
        if not kinds:
            return
        for kind in kinds:
            letters = kind[1:]
            known = letters == "h" or set(letters) <= set(VIEW_PARTS)
            twice = len(set(letters)) < len(letters)
            if kind[:1] != "r" or not letters or not known or twice:
                raise UserError(
                    "recipe: expected each of `view_augments` to be rh, or r and some of the "
                    f"letters {''.join(VIEW_PARTS)}, such as rp or rpg, got {kind!r}"
                )
        if len(kinds) != self.num_views:
            raise UserError(
                f"recipe: expected `view_augments` for each of {self.num_views} views, "
                f"got {len(kinds)}"
            )

    def _check_peers(self) -> None:
        together = self.name in ("multi_ait", "dml")
        if together and not self.peers:
            raise UserError(
                f"recipe: method={self.name} expects `peers`, the networks that train beside the "
                "first, such as peers=resnet32_cifar"
            )
        decays = self.peer_weight_decay
        inside = all(0 <= decay < float("inf") for decay in decays)
        expect("peer_weight_decay", decays, inside, ">= 0")
        if decays and len(decays) != len(self.peers):
            raise UserError(
                f"recipe: expected `peer_weight_decay` for each of {len(self.peers)} peers, "
                f"got {len(decays)}"
            )
