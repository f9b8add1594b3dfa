"""Films of a moving camera with the movement's name for a label, to train and to measure on.

Nothing has to be labelled by hand: a virtual camera moves over still pictures, and what it does is known. The films of
a training are a function of their place, as all clips are, and are made while it runs.

Letters: B clips, T frames, C channels, H W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import Dataset

from ..errors import MachineError, VideoError
from ..video.picture_file import Picture
from .camera_film import film
from .camera_path import CLASSES
from .camera_recording import write_video
from .dataset import ClipBatch, Draw, Masks, random_at
from .pictures_to_film import Pictures

_FPS = 30
_LARGE = 0.6
"""Where large movements begin, as `draw_path` has it: at 0.4 of the view, 1.74 times, 44 degrees."""

_FILE_QUALITY = (0.3, 1.0)


@dataclass(frozen=True)
class FilmRecipe:
    """How films are made.

    Args:
        num_films: of an epoch.
        num_frames: T.
        size_px: height and width of a film.
        seed: of everything that is drawn, at least 0.
        draw_masks: what hides tokens of a clip; None hides nothing.
        repeats: films of one picture and one movement that are drawn at a time.
        num_large: films of the training that show large movements alone; over as many more the small ones come in.
            Small zooms and rolls are not learnt from the start: for those, a network must know where in the view it
            looks and which way things move there, both at once.
    """

    num_films: int
    num_frames: int
    size_px: int
    seed: int
    draw_masks: Callable[[torch.Generator], Masks] | None = None
    repeats: int = 1
    num_large: int = 0

    def least(self, draw: Draw) -> float:
        """The smallest movement of a film, as `draw_path` has it."""
        number = draw.epoch * self.num_films + draw.index
        return _LARGE * min(1.0, max(0.0, 2 - number / self.num_large)) if self.num_large else 0.0


class FilmedClips(Dataset[ClipBatch]):
    """Films by `Draw`, in the place of `TrainingClips`.

    Film number k of an epoch shows movement k modulo 10; another epoch has other films.

    Args:
        pictures: what is filmed; of several collections, one is chosen first.
        recipe: how films are made.
    """

    def __init__(self, pictures: Sequence[Pictures], recipe: FilmRecipe) -> None:
        assert pictures and all(map(len, pictures)), "nothing to film"
        self._pictures = tuple(pictures)
        self._recipe = recipe

    @property
    def num_videos(self) -> int:
        """How many films an epoch has."""
        return self._recipe.num_films

    @property
    def num_bytes_per_video(self) -> int:
        """What the clips of one draw take up."""
        recipe = self._recipe
        return recipe.repeats * recipe.num_frames * 3 * recipe.size_px**2

    def __getitem__(self, draw: Draw) -> ClipBatch:
        """The films of one draw; a picture that cannot be read is named in their place."""
        recipe = self._recipe
        rng = random_at(recipe.seed, draw.epoch, draw.index)
        collections = [self._pictures[rng.integers(len(self._pictures))] for _ in range(2)]
        numbers = [int(rng.integers(len(pictures))) for pictures in collections]
        found: list[Picture] = []
        for pictures, number in zip(collections, numbers, strict=True):
            try:
                found.append(pictures[number])
            except VideoError as error:
                empty = torch.empty((0, recipe.num_frames, 3, recipe.size_px, recipe.size_px), dtype=torch.uint8)
                return ClipBatch(empty, unreadable=((pictures.name(number), error.message),))
        picture, objects = found
        return ClipBatch.join([self._clip(picture, objects, draw, repeat) for repeat in range(recipe.repeats)])

    def _clip(self, picture: Picture, objects: Picture, draw: Draw, repeat: int) -> ClipBatch:
        recipe, label = self._recipe, draw.index % len(CLASSES)
        rng = random_at(recipe.seed, draw.epoch, draw.index, repeat)
        mask, decoder_mask = None, None
        if recipe.draw_masks:
            mask, decoder_mask = recipe.draw_masks(torch.Generator().manual_seed(int(rng.integers(2**63))))
        if rng.random() < 0.5:
            picture = picture[:, ::-1]  # before it is filmed: the camera's movement is not mirrored
        size = recipe.size_px
        clip = film(
            picture,
            CLASSES[label],
            rng,
            num_frames=recipe.num_frames,
            height_px=size,
            width_px=size,
            objects=objects,
            least=recipe.least(draw),
        )
        return ClipBatch(
            frames=clip[None],
            labels=torch.tensor([label]),
            masks=None if mask is None else mask[None],
            decoder_masks=None if decoder_mask is None else decoder_mask[None],
        )


def film_files(
    folder: Path,
    pictures: Sequence[Pictures],
    *,
    per_class: int,
    seed: int,
    height_px: int = 120,
    width_px: int = 160,
    num_frames: int = 64,
) -> Iterator[Path]:
    """Write films into files, in a folder for each class, to measure models on.

    Every class films the same pictures, so that none tells the class: of the collections in turn, spread over each.
    Files are H.264 in mp4 and, by default, as long as the default sampling looks at.

    Args:
        folder: where to; made when absent. Files of the same name are replaced.
        pictures: what is filmed; none of the collections is empty.
        per_class: files of each class.
        seed: of everything that is drawn.
        height_px: of the films, even.
        width_px: likewise.
        num_frames: of the films.

    Yields:
        The path of each file as soon as it is written.

    Raises:
        VideoError: a picture cannot be read.
        MachineError: a file cannot be written.
    """
    num_turns = -(-per_class // len(pictures))
    for label, movement in enumerate(CLASSES):
        for number in range(per_class):
            rng = random_at(seed, label, number)
            turn, place = divmod(number, len(pictures))
            filmed, others = pictures[place], pictures[int(rng.integers(len(pictures)))]
            frames = film(
                filmed[turn * len(filmed) // num_turns],
                movement,
                rng,
                num_frames=num_frames,
                height_px=height_px,
                width_px=width_px,
                objects=others[int(rng.integers(len(others)))],
            )
            path = folder / movement / f"{number:04d}.mp4"
            unfinished = path.with_name(f".{path.name}")  # hidden: nobody takes it for a video
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_video(unfinished, frames, "libx264", quality=rng.uniform(*_FILE_QUALITY), fps=_FPS)
                os.replace(unfinished, path)
            except OSError as error:
                raise MachineError(f"cannot write {path}: {error.strerror}", "Choose another folder.") from error
            yield path
