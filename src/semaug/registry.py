"""Names to things. Knows no member: each is registered where it is written.

A *spec* is a frozen dataclass beside the thing that it builds. Its name is what people type,
its fields are its options, and its docstring is what ``semaug list`` prints:

    @losses.register("isda")
    @dataclass(frozen=True, kw_only=True)
    class ISDA:
        \"\"\"Cross-entropy after infinite augmentation of the features.\"\"\"

        strength: float

        def build(self, sizes: Sizes) -> nn.Module: ...

Wherever a name is taken, ``my_file.py:name`` and ``package.module:name`` are taken too.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from importlib import import_module
from typing import Any, TypeVar

from semaug import outside
from semaug._torch.names import unknown_name
from semaug.errors import UserError

__all__ = [
    "Registry",
    "Sizes",
    "augmentations",
    "choice",
    "data_sets",
    "describe_options",
    "detectors",
    "evaluations",
    "generators",
    "kinds",
    "losses",
    "methods",
    "metrics",
    "networks",
    "optimizers",
    "recipes",
    "registry_of",
    "resolve_choices",
    "schedules",
    "subsets",
    "unlabeled_losses",
]

T = TypeVar("T", bound=type)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the size of a loss, a network or a metric depends on.

    Args:
        num_classes: C.
        num_features: Inputs of the classifier; None where there is none.
        num_steps: Optimizer steps of the whole run.
        num_images: Images in the training set.
        image: Channels, height and width of an image as the network takes it; None if not known.
        align_corners: Whether outputs for pixels are resized corner to corner, for evaluators; see
            :attr:`semaug.methods.Method.align_corners`.
    """

    num_classes: int
    num_features: int | None = None
    num_steps: int = 1
    num_images: int = 1
    image: tuple[int, int, int] | None = None
    align_corners: bool = False


class Registry:
    """Spec classes by the name that people type.

    Args:
        kind: What its members are, for messages.
        *homes: Packages that register the members when they are imported.
        field: Of recipes, that takes its names; the kind if it is called so.
        listed: What ``semaug list`` calls the members; empty if it does not list them.
        fallback: Makes the spec class of a name that is not registered; None if it knows none.
    """

    def __init__(
        self,
        kind: str,
        *homes: str,
        field: str = "",
        listed: str = "",
        fallback: Callable[[str], type | None] | None = None,
    ) -> None:
        self.kind = kind
        self.field = field or kind
        self.listed = listed
        self.fallback = fallback
        self._homes = homes
        self._members: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a spec class under a name, in this process.

        Raises:
            UserError: If the name is one of this package, and the class is not.
        """

        def add(member: T) -> T:
            if not _is_ours(member) and name in self.names() and _is_ours(self._members[name]):
                raise UserError(f"{name}: expected a name that no {self.kind} of semaug has")
            self._members[name] = member
            return member

        return add

    def names(self) -> tuple[str, ...]:
        """Return the names of all members, in the order of registration."""
        for home in self._homes:
            import_module(home)
        return tuple(self._members)

    def get(self, name: str) -> Any:
        """Return the member of a name.

        Raises:
            UserError: If there is none; the message has the nearest name.
        """
        if outside.is_outside(name):
            found = outside.find(name)
            if self is not recipes and not (isinstance(found, type) and is_dataclass(found)):
                raise UserError(
                    f"{name}: expected a dataclass, the spec of one {self.kind}, got {found!r}"
                )
            return found
        names = self.names()
        found = self._members.get(name) or (self.fallback and self.fallback(name))
        if not found:
            listed_by = f"semaug list {self.listed}" if self.listed else ""
            raise UserError(unknown_name("recipe", self.kind, name, names, listed_by=listed_by))
        return found

    def make(self, name: str, **options: Any) -> Any:
        """Return the spec of a name.

        Raises:
            UserError: If the name is unknown, or an option is missing or none of its own.
        """
        kind = self.get(name)
        own = {one.name: one for one in fields(kind)}
        for option in options.keys() - own.keys():
            raise UserError(unknown_name(f"recipe: {self.field}={name}", "option", option, own))
        missing = [
            option
            for option, one in own.items()
            if one.default is MISSING and one.default_factory is MISSING and option not in options
        ]
        if missing:
            wanted = " ".join(f"{option}=..." for option in missing)
            raise UserError(f"recipe: {self.field}={name} expects {wanted}")
        spec = kind(**options)
        resolve_choices(spec)
        return spec

    def name_of(self, spec: Any) -> str:
        """Return the name of a spec or of its class.

        Raises:
            UserError: If the class has no name that another process could find it by.
        """
        kind = spec if isinstance(spec, type) else type(spec)
        for name, member in self._members.items():
            if member is kind and _is_ours(kind):
                return name
        if self.fallback and self.fallback(kind.__name__) is kind:
            return kind.__name__
        return outside.name_of(kind)

    def describe(self) -> dict[str, str]:
        """Return one line about each member, with its options but for :meth:`shared_options`."""
        shared = self.shared_options()
        return {name: _describe(self._members[name], shared) for name in self.names()}

    def shared_options(self) -> tuple[str, ...]:
        """Return the options that all of several members have."""
        first, *others = (_options_of(self._members[name]) for name in self.names())
        return tuple(one for one in first if others and all(one in other for other in others))


def _is_ours(member: Any) -> bool:
    return str(member.__module__).startswith("semaug.")


def _options_of(kind: Any) -> list[str]:
    return [one.name for one in fields(kind)] if is_dataclass(kind) else []


def _describe(kind: Any, shared: Sequence[str]) -> str:
    line = (inspect.getdoc(kind) or "").partition("\n")[0].removesuffix(".")
    own = ", ".join(one for one in _options_of(kind) if one not in shared)
    return f"{line}; options: {own}" if own else line


def describe_options(kind: type) -> dict[str, str]:
    """Return what the docstring of a dataclass says of each option, without markup."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        section = (inspect.getdoc(base) or "").partition("Args:\n")[2].partition("\n\n")[0]
        for entry in re.split(r"^    (?=\w)", section, flags=re.MULTILINE)[1:]:
            name, _, text = entry.partition(": ")
            plain = re.sub(r"`+|:\w+:", "", " ".join(text.split()))
            texts[name] = plain.replace("None", "none")
    return {one.name: texts.get(one.name, "") for one in fields(kind)}


def choice(registry: Registry, default: Any = MISSING) -> Any:
    """Return a field of a dataclass whose value is a spec: a name stands for the spec itself.

    Args:
        registry: Of the specs.
        default: A name, or a tuple for a field with several specs.
    """
    return field(default=default, metadata={"registry": registry})


def resolve_choices(spec: Any) -> None:
    """Turn names in the fields of a frozen dataclass into the specs they stand for, at any depth.

    Raises:
        UserError: If a name is unknown, its spec needs options, or a value is no spec.
    """
    for one in fields(spec):
        registry, value = registry_of(one), getattr(spec, one.name)
        if registry is not None and value is not None:
            several = isinstance(value, tuple)
            made = tuple(_made(x, registry) for x in (value if several else (value,)))
            object.__setattr__(spec, one.name, made if several else made[0])


def _made(value: Any, registry: Registry) -> Any:
    spec = registry.make(value) if isinstance(value, str) else value
    if isinstance(spec, type) or not is_dataclass(spec):
        raise UserError(f"recipe: expected a name or a spec as {registry.kind}, got {value!r}")
    if any(one.name == "name" for one in fields(spec)):
        raise UserError(
            f"{type(spec).__name__}: an option cannot be called `name`, which specs have"
        )
    resolve_choices(spec)
    return spec


def registry_of(one: Field[Any]) -> Registry | None:
    """Return the registry of a field made by :func:`choice`, None of any other."""
    return one.metadata.get("registry")


losses = Registry("loss", "semaug.losses", listed="losses")  # what loss= takes
# What unlabeled_loss= takes.
unlabeled_losses = Registry("loss of unlabeled images", "semaug.losses", field="unlabeled_loss")
# What method= takes.
methods = Registry("method", "semaug.methods", "semaug.generation", listed="methods")
networks = Registry("network", "semaug.networks", listed="networks")  # what network= takes
# What data= takes.
data_sets = Registry(
    "data set",
    *("semaug.data", "semaug.generation", "semaug.detection.data_sets"),
    field="data",
    listed="data",
)
subsets = Registry("subset", "semaug.data")  # what subset= takes
# What augment= takes.
augmentations = Registry("augmentation", "semaug.augmentation", field="augment")
# What metrics= takes.
metrics = Registry("metric", "semaug.metrics", field="metrics", listed="metrics")
# What optimizer= takes.
optimizers = Registry("optimizer", "semaug.engine.optimizers", listed="optimizers")
# What schedule= takes.
schedules = Registry("schedule", "semaug.engine.schedules", listed="schedules")
# What evaluation= takes.
evaluations = Registry("evaluation", "semaug.engine.evaluation", listed="evaluations")
# What generator= takes.
generators = Registry("generator", "semaug.generation", listed="generators")
# What detector= takes.
detectors = Registry("detector", "semaug.detection.specs", listed="detectors")
recipes = Registry("recipe", "semaug.recipes", listed="recipes")  # by name
# Classes of recipes by the kind in recipe.json.
kinds = Registry("kind of recipe", "semaug.recipe", "semaug.generation", "semaug.detection.recipe")
