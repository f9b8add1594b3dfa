"""Training on films of a moving camera, which are made on the way from pictures (`data.source: camera-motion`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ..config.schema import Config, FinetuneConfig, PretrainConfig
from ..data.camera_motion import FilmedClips, FilmRecipe, film_files
from ..data.camera_path import CLASSES
from ..data.dataset import ClipRecipe, TrainingClips
from ..data.loader import Clips
from ..data.manifest import Manifest, read_manifest, split
from ..data.pictures_to_film import DrawnPictures, FoundPictures, Pictures, find_pictures, stills_of
from ..errors import UsageError, VideoError
from .distributed import Ranks

_PICTURE_SIDES = 4  # of a picture's shorter side, in those of a clip: room for a camera to move in
_FILES_PER_CLASS = 20
_FOLDER = "validation"


def read_pictures(config: Config) -> tuple[Manifest, Manifest]:
    """The files to film for training, and those to film for validation or, if `data.validation` is set, its videos.

    Args:
        config: with `data.source` "camera-motion".

    Raises:
        UsageError: there is nothing to film, or `data.validation` is wrong.
    """
    data, none = config.data, Manifest((), CLASSES)
    if data.train is None and not data.num_drawn:
        raise UsageError("there are no pictures to film", "Name a folder with --data, or set data.num_drawn.")
    pictures = none if data.train is None else find_pictures(data.train)
    if data.validation is not None:
        labels = CLASSES if isinstance(config, FinetuneConfig) else None
        return pictures, read_manifest(data.validation, labels=labels, labelled=labels is not None)
    if not pictures.samples or not data.validation_fraction:
        return pictures, none
    return split(pictures, data.validation_fraction, config.run.seed)


def training_clips(config: Config, videos: Manifest, recipe: ClipRecipe) -> Clips:
    """The clips that a run learns from, of whichever source.

    Args:
        config: the recipe.
        videos: or pictures to film.
        recipe: how clips are made. Of films, it does not tell how frames are chosen and changed.
    """
    if config.data.source == "videos":
        return TrainingClips(videos, recipe)
    film = FilmRecipe(
        num_films=config.data.num_films,
        num_frames=recipe.sampling.num_frames,
        size_px=recipe.size_px,
        seed=recipe.seed,
        draw_masks=recipe.draw_masks,
        repeats=recipe.repeats,
        num_large=config.data.num_large,
    )
    return FilmedClips(_pictures(config, videos, config.data.num_drawn, config.run.seed), film)


def filmed(config: Config, validation: Manifest, folder: Path, ranks: Ranks, note: Callable[[str], None]) -> Manifest:
    """The videos to measure on. Of films: what was held back, or else pictures drawn for that, filmed into files.

    Args:
        config: the recipe.
        validation: videos, or pictures; all processes call it.
        folder: of the run; the files go to `validation` in it, and are kept if they are there already.
        ranks: the processes.
        note: told what is done, and which pictures cannot be read.

    Raises:
        MachineError: a file cannot be written.
    """
    data = config.data
    if data.source == "videos" or isinstance(config, PretrainConfig) or data.validation or not data.validation_fraction:
        return validation
    top = folder / _FOLDER
    if ranks.is_first and not top.exists():
        collections = _pictures(config, _readable(config, validation, note), _FILES_PER_CLASS, config.run.seed + 1)
        note(f"filming {len(CLASSES) * _FILES_PER_CLASS} videos for validation into {top}")
        unfinished = folder / f".{_FOLDER}"
        shutil.rmtree(unfinished, ignore_errors=True)
        for _ in film_files(unfinished, collections, per_class=_FILES_PER_CLASS, seed=config.run.seed + 1):
            pass
        os.replace(unfinished, top)
    ranks.wait()
    return read_manifest(str(top), labels=CLASSES)


def _pictures(config: Config, found: Manifest, num_drawn: int, seed: int) -> list[Pictures]:
    """Pictures of files and drawn ones; each collection is filmed as often as the other, whatever their sizes."""
    size_px = _PICTURE_SIDES * config.model.image_size
    collections: list[Pictures] = []
    if found.samples:
        stills = stills_of(sample.path for sample in found.samples)
        collections.append(FoundPictures(stills, size_px, config.data.max_pixels))
    if num_drawn:
        collections.append(DrawnPictures(num_drawn, size_px, seed))
    return collections


def _readable(config: Config, found: Manifest, note: Callable[[str], None]) -> Manifest:
    samples = []
    for sample in found.samples:
        stills = FoundPictures(
            stills_of([sample.path]), _PICTURE_SIDES * config.model.image_size, config.data.max_pixels
        )
        try:
            for number in range(len(stills)):
                stills[number]
            samples.append(sample)
        except VideoError as error:
            note(f"not filmed: {error.message}")
    return Manifest(tuple(samples), found.labels)
