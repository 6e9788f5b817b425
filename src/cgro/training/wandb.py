"""Curves in Weights & Biases, for `cgro train --track wandb`. `fabric` alone imports this, and Lightning with it."""

import importlib
import secrets
from collections.abc import Mapping
from pathlib import Path

from lightning_fabric.loggers.logger import Logger

from cgro.writing import write_atomic


class WandbLogger(Logger):
    """Weights & Biases; Fabric itself ships none. The project is `cgro`, the run's name the path of its directory.

    Args:
        folder: the run directory. It keeps the id in `wandb/id`, so that a resumed run goes on in the same curves, and
            no other does: the seeds of every run are called seed-0, seed-1, ...
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run = None

    @property
    def name(self) -> str:
        """The project."""
        return "cgro"

    @property
    def version(self) -> str:
        """The run."""
        return self.folder.as_posix()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send a row; the connection is made at the first one.

        Args:
            metrics: values by name.
            step: the epoch.
        """
        if self._run is None:
            wandb = importlib.import_module("wandb")
            self._run = wandb.init(
                project=self.name, name=self.version, id=self._id(), resume="allow", dir=str(self.folder)
            )
        self._run.log(dict(metrics), step=step)

    def _id(self) -> str:
        kept = self.folder / "wandb" / "id"
        if not kept.exists():
            write_atomic(kept, secrets.token_hex(8).encode())
        return kept.read_text(encoding="utf-8")

    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Do nothing: the settings are in the run directory.

        Args:
            *args: unused.
            **kwargs: unused.
        """

    def finalize(self, status: str) -> None:
        """Close the run.

        Args:
            status: finished, failed or interrupted; of all but the first it shows as failed.
        """
        if self._run is not None:
            self._run.finish(exit_code=0 if status == "finished" else 1)
            self._run = None
