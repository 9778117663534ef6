"""Record which images a run is trained on, so that a result can be traced to exact images."""

from semaug.data import Selection, describe_selection, pack_selection
from semaug.training.errors import UserError
from semaug.training.files import read_json, write_atomically, write_json
from semaug.training.run import Run

__all__ = ["record_selection"]


def record_selection(run: Run, selection: Selection) -> None:
    """Write ``images.json``, and every place and label to ``images.npz`` if not all are official.

    Raises:
        OSError: If the disk does not take it.
        UserError: If the folder says that the run began with other images.
    """
    path = run.folder / "images.json"
    description = describe_selection(selection)
    if path.exists():
        before = read_json(path, "delete it, and --resume writes it anew")
        if before != description:
            raise UserError(
                f"{path}: the run began with other training images ({before['train_images']:,}) "
                f"than are found now ({description['train_images']:,}); "
                "restore the data set, or choose another folder with --runs"
            )
        return
    if run.recipe.subset.chooses_training_images():
        packed = pack_selection(selection)
        write_atomically(run.folder / "images.npz", lambda file: file.write(packed))
    write_json(path, description)
