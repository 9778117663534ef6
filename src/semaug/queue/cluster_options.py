"""What a job asks of a cluster: options of the command line as parameters of submitit."""

from collections.abc import Iterable, Mapping
from typing import Any

from semaug._torch.names import unknown_name
from semaug.errors import UserError

__all__ = ["CLUSTERS", "as_parameters", "ignored_options", "parse_cluster_options"]

CLUSTERS = ("slurm", "local")

# Options that submitit has for all clusters, and those it wants prefixed with the one they are of.
_SHARED = {
    "cpus_per_task": int,
    "gpus_per_node": int,
    "mem_gb": float,
    "name": str,
    "timeout_min": int,
}
_OF_SLURM = {
    "account": str,
    "comment": str,
    "constraint": str,
    "dependency": str,
    "exclude": str,
    "gres": str,
    "mail_type": str,
    "mail_user": str,
    "mem_per_cpu": str,
    "mem_per_gpu": str,
    "nodelist": str,
    "partition": str,
    "qos": str,
    "setup": str,
    "signal_delay_s": int,
}
_REPEATED = "setup"  # a line of the shell, of which there may be several
_KNOWN_LOCALLY = ("gpus_per_node", "timeout_min")

# Those of submitit, 5 and 2 minutes, are for calls of a function. A run whose time is up goes back
# into the queue, so a time too short costs little; nothing but people waits for a local job.
_TIMEOUT_MIN = {"slurm": 240, "local": 7 * 24 * 60}

_IN_WORDS = {int: "a whole number", float: "a number"}


def parse_cluster_options(texts: Iterable[str]) -> dict[str, Any]:
    """Read options written as ``key=value``.

    Args:
        texts: Such as ``partition=gpu``, each key once, but for lines of ``setup``.

    Returns:
        Values of the types that submitit wants.

    Raises:
        UserError: If a name is unknown, or a value no number where one is wanted.

    >>> parse_cluster_options(["partition=gpu", "timeout_min=600", "setup=module load cuda"])
    {'partition': 'gpu', 'timeout_min': 600, 'setup': ['module load cuda']}
    """
    options: dict[str, Any] = {}
    kinds = _SHARED | _OF_SLURM
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise UserError(f"cluster: expected KEY=VALUE, such as partition=gpu, got {text!r}")
        if name not in kinds:
            message = unknown_name("cluster", "option", name, kinds)
            if "did you mean" in message:
                message += f" There are {', '.join(sorted(kinds))}"
            raise UserError(message)
        if name == _REPEATED:
            options.setdefault(name, []).append(value)
        elif name in options:
            raise UserError(f"cluster: expected `{name}` once, got it twice")
        else:
            options[name] = _parse(name, value, kinds[name])
    return options


def _parse(name: str, text: str, kind: type) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or (kind is not str and not value >= 0):
        raise UserError(f"cluster: expected `{name}` to be {_IN_WORDS[kind]} >= 0, got {text!r}")
    return value


def ignored_options(cluster: str, options: Mapping[str, Any]) -> list[str]:
    """Return the names of options that mean nothing there: local jobs just start.

    >>> ignored_options("local", {"partition": "gpu", "timeout_min": 600})
    ['partition']
    """
    return [name for name in options if cluster == "local" and name not in _KNOWN_LOCALLY]


def as_parameters(cluster: str, options: Mapping[str, Any], jobs: int) -> dict[str, Any]:
    """Return the arguments of submitit's ``update_parameters``.

    Args:
        cluster: ``"slurm"`` or ``"local"``.
        options: As of :func:`parse_cluster_options`.
        jobs: Tasks of an array that may run at once.

    >>> as_parameters("slurm", {"partition": "gpu", "cpus_per_task": 8}, jobs=4)["slurm_partition"]
    'gpu'
    """
    parameters: dict[str, Any] = {
        "name": "semaug",
        "timeout_min": _TIMEOUT_MIN[cluster],
        "nodes": 1,
        "tasks_per_node": 1,
        "slurm_array_parallelism": jobs,
    }
    for name, value in options.items():
        parameters[name if name in _SHARED else f"slurm_{name}"] = value
    if "cpus_per_task" in options:  # since 22.05 `srun` does not take over what `sbatch` was told
        parameters["slurm_srun_args"] = [f"--cpus-per-task={options['cpus_per_task']}"]
    return parameters
