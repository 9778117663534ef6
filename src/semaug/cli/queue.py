"""What trains the runs of a command: this machine, or a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.queue.cluster import parse_cluster_options, run_on_cluster
from semaug.queue.outcome import Outcome
from semaug.queue.queue import train_runs
from semaug.runs.run import Run


@dataclass(frozen=True)
class Queue:
    """What trains several runs: processes of this machine, or jobs of a cluster."""

    jobs: int = 1
    cluster: str | None = None
    cluster_option: list[str] | None = None

    def train(self, runs: Sequence[Run], options: TrainOptions, console: Console) -> list[Outcome]:
        """Train the runs that are not finished, and return the outcome of each.

        Raises:
            UserError: If the cluster or one of its options is unknown, or has no cluster.
        """
        if self.cluster is None:
            if self.cluster_option:
                raise UserError("cluster: expected --cluster with --cluster-option")
            return train_runs(runs, options, self.jobs, console)
        asked = parse_cluster_options(self.cluster_option or [])
        return run_on_cluster(
            runs, options, self.jobs, console, cluster=self.cluster, cluster_options=asked
        )
