"""Films of a moving camera: what they show is measured in the pixels, by two spots whose way tells all."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from tests.videos import frame_numbers, numbered_frame, write_text
from tests.videos import write_video as write_numbered_video
from videomae_cli.data.camera_film import film, lay
from videomae_cli.data.camera_motion import FilmedClips, FilmRecipe, film_files
from videomae_cli.data.camera_objects import COVERED, put_objects
from videomae_cli.data.camera_path import CLASSES, draw_path
from videomae_cli.data.camera_recording import Codec, coded, write_video
from videomae_cli.data.dataset import Draw, random_at
from videomae_cli.data.manifest import read_manifest, split
from videomae_cli.data.pictures_to_film import DrawnPictures, FoundPictures, Still, find_pictures, stills_of
from videomae_cli.data.procedural_pictures import procedural_picture
from videomae_cli.errors import UsageError, VideoError
from videomae_cli.model.masking import tube_mask
from videomae_cli.video.reader import VideoReader
from videomae_cli.video.sampling import dense_indices

Floats = npt.NDArray[np.float64]
SEEDS = range(12)
PICTURES = DrawnPictures(5, 96, seed=3)
RECIPE = FilmRecipe(num_films=50, num_frames=4, size_px=32, seed=1)


# ---- what the picture does -------------------------------------------------------------------------------------------


def spots(size_px: int = 120) -> npt.NDArray[np.uint8]:
    """A dark spot at the upper left of the centre of a grey picture, a bright one at the lower right."""
    picture = np.full((size_px, size_px, 3), 128, np.uint8)
    y, x = np.ogrid[:size_px, :size_px]
    for offset, level in ((-0.05, 0), (0.05, 255)):
        place = (0.5 + offset) * size_px
        picture[(x - place) ** 2 + (y - place) ** 2 < (0.03 * size_px) ** 2] = level
    return picture


def spot_places(frames: npt.NDArray[np.uint8]) -> Floats:
    """(x, y) of the dark and of the bright spot in parts of the shorter side, (S, 2, 2).

    S are those of the frames (T, H, W, 3) that show both spots whole: one after the other, in the middle of a wide pan.
    """
    levels = frames.astype(np.float64).mean(axis=-1)
    levels -= np.median(levels, axis=(1, 2), keepdims=True)
    y, x = np.mgrid[: levels.shape[1], : levels.shape[2]]
    at_edge = np.maximum(np.abs(levels[:, [0, -1]]).max(axis=(1, 2)), np.abs(levels[:, :, [0, -1]]).max(axis=(1, 2)))
    whole = at_edge < 45
    whole &= np.array([(frame > 45).any() and (frame < -45).any() for frame in levels])
    levels = levels[whole]
    places = []
    for sign in (-1, 1):
        weights = (sign * levels - 45).clip(0)
        total = weights.sum(axis=(1, 2))
        places.append(np.stack([(weights * axis).sum(axis=(1, 2)) / total for axis in (x, y)], axis=-1))
    return np.stack(places, axis=1) / min(levels.shape[1:])


def measured(frames: npt.NDArray[np.uint8]) -> Floats:
    """How the picture of `spots` has moved since the first frame: to the right, down, log of growth, clockwise; (T, 4).

    What is shifted is the middle of the spots, which is the middle of the picture.
    """
    places = spot_places(frames)
    middle = places.mean(axis=1)
    across = places[:, 1] - places[:, 0]
    growth, angle = np.log(np.hypot(*across.T)), np.unwrap(np.arctan2(across[:, 1], across[:, 0]))
    return np.column_stack([middle, growth, angle]) - [*middle[0], growth[0], angle[0]]


def filmed_spots(movement: str, seed: int) -> npt.NDArray[np.uint8]:
    """A film of 16 frames (T, H, W, 3). The picture is so small that the film shows all of it that it can."""
    frames = film(spots(), movement, random_at(seed), num_frames=16, height_px=128, width_px=128)
    return frames.movedim(1, -1).numpy()


# The picture does the opposite of the camera. Axis of `measured`, and its sign.
PICTURE_MOVES = {
    "pan left": (0, +1),  # to the right
    "pan right": (0, -1),
    "tilt up": (1, +1),  # down
    "tilt down": (1, -1),
    "zoom in": (2, +1),  # grows
    "zoom out": (2, -1),
    "roll clockwise": (3, -1),  # counter-clockwise
    "roll counter-clockwise": (3, +1),
}
# The smallest and the largest movement, less what side drift, trembling, and the time before the first and after the
# last frame take away.
LEAST = (0.075, 0.075, np.log(1.22), np.radians(11.5))
MOST = (1.1, 1.1, np.log(2.65), np.radians(95))


@pytest.mark.parametrize("movement", PICTURE_MOVES)
def test_the_picture_does_the_opposite_of_the_camera(movement: str) -> None:
    axis, sign = PICTURE_MOVES[movement]
    for seed in SEEDS:
        moved = measured(filmed_spots(movement, seed))
        assert LEAST[axis] < sign * moved[-1, axis] < MOST[axis], (seed, moved[-1])
        backwards = -np.minimum(0, sign * np.diff(moved[:, axis])).sum()
        assert backwards < 0.5 * sign * moved[-1, axis], (seed, moved[:, axis])
        others = np.delete(np.abs(moved[-1]), [axis, *((0, 1) if axis > 1 else ())])  # the middle may not be the pivot
        assert (others < 0.06 + 0.5 * np.abs(moved[-1, axis])).all(), (seed, moved[-1])


@pytest.mark.parametrize("movement", PICTURE_MOVES)
def test_files_show_the_movement_of_their_name(movement: str, tmp_path: Path) -> None:
    axis, sign = PICTURE_MOVES[movement]
    path = tmp_path / "film.mp4"
    film_of_64 = film(spots(), movement, random_at(5), num_frames=64, height_px=96, width_px=128)
    write_video(path, film_of_64, "libx264", quality=0.5, fps=30)
    with VideoReader(path) as video:
        assert (video.info.num_frames, video.info.fps) == (64, 30)
        assert (video.info.width, video.info.height) == (128, 96)
        moved = measured(video.read(dense_indices(64)[0]).frames)
    assert LEAST[axis] < sign * moved[-1, axis] < MOST[axis]


def test_a_static_camera_moves_about_a_pixel_of_64_at_most() -> None:
    for seed in SEEDS:
        moved = np.abs(measured(filmed_spots("static", seed))[:, :2])
        assert moved.max() < 1.2 / 64, (seed, moved.max())


def test_a_shaken_camera_gets_nowhere() -> None:
    for seed in SEEDS:
        moved = measured(filmed_spots("handheld shake", seed))[:, :2]
        assert moved.std(axis=0).max() > 0.6 / 64, seed
        slope = np.polyfit(np.arange(16), moved, 1)[0]
        assert (np.abs(slope * 15) < 0.25 / 64 + 0.2 * moved.std(axis=0)).all(), (seed, slope * 15)


def test_all_movements_have_their_test() -> None:
    assert [*PICTURE_MOVES, "static", "handheld shake"] == [*CLASSES[1:9], CLASSES[0], CLASSES[9]]


@pytest.mark.parametrize("movement", [name for name in CLASSES if name != "handheld shake"])
def test_a_longer_film_shows_the_same_movement(movement: str) -> None:
    few, many = (draw_path(movement, random_at(9), np.arange(number) / number) for number in (16, 64))
    for axis in ("x", "y", "zoom", "roll"):
        np.testing.assert_allclose(getattr(many, axis)[::4], getattr(few, axis), atol=1e-12)


def test_the_view_of_a_place_is_where_the_place_is_seen() -> None:
    path = draw_path("roll clockwise", random_at(2), np.linspace(0, 1, 5))
    u, v = path.shown(0.3, -0.7)
    x, y = path.seen(u[:, None], v[:, None])
    np.testing.assert_allclose(x, np.full((5, 1), 0.3))
    np.testing.assert_allclose(y, np.full((5, 1), -0.7))


# ---- films -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("picture_px", [(256, 256), (90, 400), (400, 90), (20, 20), (1, 1)])
@pytest.mark.parametrize("film_px", [(64, 64), (48, 80)])
def test_the_camera_never_sees_beyond_the_picture(picture_px: tuple[int, int], film_px: tuple[int, int]) -> None:
    height, width = (side / min(film_px) for side in film_px)
    for seed, movement in enumerate(CLASSES * 3):
        rng = random_at(seed)
        path = draw_path(movement, rng, np.arange(16) / 16)
        place = lay(path, film_px, picture_px, rng)
        for right, down in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            x, y = path.seen(right * width / 2, down * height / 2)
            assert -1e-9 < place.x(x).min() <= place.x(x).max() < picture_px[1] + 1e-9
            assert -1e-9 < place.y(y).min() <= place.y(y).max() < picture_px[0] + 1e-9


@pytest.mark.parametrize("picture_px", [(300, 200), (3, 500), (1, 1)])
def test_any_picture_can_be_filmed(picture_px: tuple[int, int]) -> None:
    picture = random_at(0).integers(0, 256, (*picture_px, 3), dtype=np.uint8)
    for seed, movement in enumerate(CLASSES):
        frames = film(picture, movement, random_at(seed), num_frames=3, height_px=32, width_px=48, objects=picture)
        assert frames.shape == (3, 3, 32, 48)
        assert frames.dtype == torch.uint8
        assert frames.is_contiguous()


def test_a_film_is_a_function_of_its_seed() -> None:
    def shot(seed: int) -> torch.Tensor:
        return film(PICTURES[0], "zoom in", random_at(seed), num_frames=4, height_px=32, width_px=32)

    assert torch.equal(shot(1), shot(1))
    assert not torch.equal(shot(1), shot(2))


def test_what_a_film_shows_has_the_levels_of_the_picture() -> None:
    """Over many films, whose exposures differ; edges that are seen beyond would be dark."""
    white = np.full((80, 60, 3), 230, np.uint8)
    films = [
        film(white, CLASSES[seed % 10], random_at(seed), num_frames=2, height_px=32, width_px=32) for seed in SEEDS
    ]
    for frames in films:
        levels = frames.float().mean(dim=(0, 1))  # (H, W)
        assert levels.max() - levels.min() < 25
    assert 180 < torch.stack(films).float().mean() < 255


def test_objects_move_and_leave_most_of_the_view_free() -> None:
    white = np.full((64, 64, 3), 200, np.uint8)
    num_with_objects = 0
    for seed in range(40):
        rng = random_at(seed)
        path = draw_path(CLASSES[seed % 10], rng, np.arange(8) / 8)
        frames = put_objects(torch.zeros(8, 3, 40, 56), white, path, rng)
        covered = (frames[:, 0] > 0).float()
        assert covered.mean(dim=(1, 2)).max() <= COVERED + 0.02  # whole pixels
        num_with_objects += bool((covered[0] != covered[-1]).any())
    assert 8 < num_with_objects < 32


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_coding_is_real_and_repeatable(codec: Codec) -> None:
    frames = torch.from_numpy(random_at(0).integers(0, 256, (6, 3, 12, 16), dtype=np.uint8))
    frames = frames.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    good, bad = (coded(frames, codec, quality) for quality in (1.0, 0.0))
    assert good.shape == frames.shape
    losses = [(result.float() - frames).abs().mean() for result in (good, bad)]
    assert 1 < losses[0] < 0.8 * losses[1]
    for _ in range(20):
        assert torch.equal(coded(frames, codec, 0.0), bad)


# ---- clips for training ----------------------------------------------------------------------------------------------


def test_ten_films_in_a_row_show_ten_movements() -> None:
    clips = FilmedClips([PICTURES], RECIPE)
    assert clips.num_videos == 50
    assert clips.num_bytes_per_video == 4 * 3 * 32 * 32
    batches = [clips[Draw(0, index)] for index in range(7, 27)]
    assert all(batch.frames.shape == (1, 4, 3, 32, 32) and batch.frames.dtype == torch.uint8 for batch in batches)
    labels = [int(batch.labels) for batch in batches]
    assert all(Counter(labels[k : k + 10]) == Counter(range(10)) for k in range(11))


def test_a_clip_depends_on_its_place_alone() -> None:
    clips = FilmedClips([PICTURES, DrawnPictures(3, 64, seed=8)], RECIPE)
    wanted = clips[Draw(2, 13)].frames
    other = pickle.loads(pickle.dumps(clips))
    other[Draw(0, 1)]
    assert torch.equal(other[Draw(2, 13)].frames, wanted)
    for draw in (Draw(1, 13), Draw(2, 23)):
        assert not torch.equal(clips[draw].frames, wanted)


def test_repeats_and_masks() -> None:
    def draw_masks(generator: torch.Generator) -> tuple[torch.Tensor, None]:
        return tube_mask((2, 4, 4), 0.75, generator), None

    recipe = FilmRecipe(num_films=10, num_frames=4, size_px=32, seed=1, draw_masks=draw_masks, repeats=2)
    batch = FilmedClips([PICTURES], recipe)[Draw(0, 4)]
    assert batch.frames.shape == (2, 4, 3, 32, 32)
    assert batch.labels.tolist() == [4, 4]
    assert batch.masks.shape == (2, 32)
    assert batch.decoder_masks is None
    assert not torch.equal(batch.frames[0], batch.frames[1])
    alone = FilmedClips([PICTURES], FilmRecipe(num_films=10, num_frames=4, size_px=32, seed=1))
    assert alone[Draw(0, 4)].masks is None


def test_large_movements_come_first() -> None:
    """Films 0 to 29 are large, up to 59 smaller ones come in, from 60 on all are there."""
    recipe = FilmRecipe(num_films=20, num_frames=4, size_px=32, seed=1, num_large=30)
    places = [(0, 0), (1, 9), (1, 10), (2, 5), (2, 19), (3, 0), (9, 9)]
    assert [recipe.least(Draw(*place)) for place in places] == pytest.approx([0.6, 0.6, 0.6, 0.3, 0.02, 0, 0])
    assert RECIPE.least(Draw(0, 0)) == 0


def test_a_path_is_at_least_as_long_as_is_asked_for() -> None:
    def smallest(movement: str, axis: str, least: float) -> float:
        paths = [draw_path(movement, random_at(seed), np.array([0.0, 1.0]), least=least) for seed in range(200)]
        return min(abs(float(np.ptp(getattr(path, axis)))) for path in paths)

    # From 0.1 to 1 view and from 15 to 90 degrees, less what trembling takes away.
    assert 0.08 < smallest("pan left", "x", 0.0) < 0.13
    assert 0.28 < smallest("pan left", "x", 0.5) < 0.36  # 10 ** 0.5 times as much
    assert 34 < np.degrees(smallest("roll clockwise", "roll", 0.5)) < 42


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    bad = write_text(tmp_path / "bad.png")
    batch = FilmedClips([FoundPictures((Still(str(bad)),), 96)], RECIPE)[Draw(0, 0)]
    assert batch.frames.shape == (0, 4, 3, 32, 32)
    assert batch.unreadable[0][0] == str(bad)
    assert "in no video format" in batch.unreadable[0][1]


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_pictures_and_frames_of_videos_are_found(tmp_path: Path) -> None:
    (tmp_path / "below" / ".hidden").mkdir(parents=True)
    Image.fromarray(numbered_frame(7)).save(tmp_path / "below" / "seven.png")
    Image.fromarray(numbered_frame(8)).save(tmp_path / "below" / ".hidden" / "eight.png")
    write_text(tmp_path / "notes.txt")
    write_numbered_video(tmp_path / "video.mp4", 21)
    found = find_pictures(str(tmp_path))
    assert found.labels == CLASSES
    assert [(sample.path, sample.label) for sample in found.samples] == [
        (f"{tmp_path}/video.mp4", None),
        (f"{tmp_path}/below/seven.png", None),
    ]
    stills = stills_of((sample.path for sample in found.samples), frames_per_video=2)
    assert [still.position for still in stills] == [0.25, 0.75, 0]
    pictures = FoundPictures(stills, size_px=48)
    assert frame_numbers(np.stack([pictures[k] for k in range(len(pictures))])) == [5, 15, 7]
    assert FoundPictures(stills, size_px=24)[2].shape == (24, 32, 3)
    with pytest.raises(VideoError, match="over the limit"):
        FoundPictures(stills, size_px=48, max_pixels=100)[0]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no picture and no video"):
        find_pictures(str(tmp_path))
    with pytest.raises(UsageError, match="cannot list"):
        find_pictures(str(tmp_path / "absent"))


def test_pictures_can_be_held_back(tmp_path: Path) -> None:
    for number in range(10):
        Image.fromarray(numbered_frame(number)).save(tmp_path / f"{number}.png")
    kept, held = split(find_pictures(str(tmp_path)), 0.3, seed=1)
    assert (len(kept.samples), len(held.samples)) == (7, 3)
    assert kept.labels == held.labels == CLASSES


@pytest.mark.parametrize("size_px", [32, 100, 256])
def test_drawn_pictures_have_something_to_see_everywhere(size_px: int) -> None:
    for seed in range(5):
        picture = procedural_picture(random_at(seed), size_px)
        assert picture.shape == (size_px, size_px, 3)
        assert picture.dtype == np.uint8
        quarters = picture.reshape(4, size_px // 4, 4, size_px // 4, 3).swapaxes(1, 2).reshape(16, -1)
        assert quarters.std(axis=1).min() > 2, seed
        np.testing.assert_array_equal(picture, procedural_picture(random_at(seed), size_px))
        assert (picture != procedural_picture(random_at(seed + 100), size_px)).mean() > 0.5


# ---- files -----------------------------------------------------------------------------------------------------------


def test_films_are_written_as_a_data_set(tmp_path: Path) -> None:
    paths = list(
        film_files(tmp_path / "films", [PICTURES], per_class=2, seed=4, height_px=48, width_px=64, num_frames=6)
    )
    manifest = read_manifest(str(tmp_path / "films"), labels=CLASSES)
    assert manifest.labels == CLASSES
    assert sorted(sample.path for sample in manifest.samples) == sorted(map(str, paths))
    assert Counter(sample.label for sample in manifest.samples) == dict.fromkeys(range(10), 2)
    with VideoReader(tmp_path / "films" / "tilt up" / "0001.mp4") as video:
        assert (video.info.num_frames, video.info.width, video.info.height) == (6, 64, 48)
        frames = video.read(range(6)).frames
    assert frames.std() > 2
    again = list(film_files(tmp_path / "x", [PICTURES], per_class=2, seed=4, height_px=48, width_px=64, num_frames=6))
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


class Told:
    """Pictures of which is told who asks for them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, number: int) -> npt.NDArray[np.uint8]:
        self.asked.append(number)
        return spots(32)

    def name(self, number: int) -> str:
        return str(number)


@pytest.mark.parametrize(("number", "filmed"), [(20, [0, 6, 13]), (3, [0, 1, 2]), (2, [0, 0, 1]), (1, [0, 0, 0])])
def test_every_class_films_pictures_from_all_over(number: int, filmed: list[int], tmp_path: Path) -> None:
    pictures = Told(number)
    list(film_files(tmp_path, [pictures], per_class=3, seed=0, height_px=16, width_px=16, num_frames=2))
    assert pictures.asked[::2] == filmed * len(CLASSES)  # in between: what objects are cut from
