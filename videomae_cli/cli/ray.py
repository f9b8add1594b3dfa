"""`--ray`: what is asked for -> a job for the actors of Ray, before Ray is started."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from ..inference.look import Look
    from ..inference.ray_actor import Job
    from ..inference.records import Record


def prepare_ray(look: Look, load: Mapping[str, Any]) -> tuple[Job, Callable[..., Generator[Record, None, None]]]:
    """What the actors are to do, and what lets them.

    Args:
        look: how each video is looked at.
        load: arguments of `VideoClassifier.from_pretrained`, for each actor.

    Raises:
        UsageError: Ray is not installed, or the device is one of several.
    """
    if find_spec("ray") is None:
        raise UsageError("--ray needs Ray, which is not installed", "Run `pip install 'ray[data]'` (or '.[ray]').")
    if ":" in load["device"]:
        raise UsageError(f"--device {load['device']!r} with --ray: Ray chooses among devices", "Say cuda, or auto.")
    from ..inference.ray_actor import Job
    from ..inference.ray_batch import classify_on_ray

    return Job(look, load, os.getcwd()), classify_on_ray
