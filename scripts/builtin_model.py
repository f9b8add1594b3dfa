"""The built-in model: the pictures that it learns from, films of others to test it on, and the files that are shipped.

    python scripts/builtin_model.py gather FOLDER
    python scripts/builtin_model.py film FOLDER PICTURES PER_CLASS SEED
    python scripts/builtin_model.py pack RUN FOLDER

`gather` copies what scikit-image, scikit-learn and matplotlib have in their wheels (`pip install` is enough, nothing
is fetched). `film` films the pictures and videos below a folder, as many films of each class; all classes film the same
pictures, spread over all of them. `pack` writes the model of a training run in half precision. `make builtin-model`
calls them in turn.
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from videomae_cli.data.camera_motion import film_files
from videomae_cli.data.pictures_to_film import FoundPictures, find_pictures, stills_of
from videomae_cli.errors import VideoError
from videomae_cli.model.videomae import VideoMAEForVideoClassification
from videomae_cli.video.processor import VideoMAEImageProcessor

# Left out: what is periodic (chessboards), nearly plain (color, horse, logo, phantom, microaneurysms) or too small, and
# what nobody gives a licence of that is beyond doubt (moon, motorcycle, page, rocket).
PICTURES = {
    "skimage/data": "astronaut.png brick.png camera.png chelsea.png clock_motion.png coffee.png coins.png grass.png "
    "gravel.png hubble_deep_field.jpg ihc.png retina.jpg text.png",
    "sklearn/datasets/images": "china.jpg flower.jpg",
    "matplotlib/mpl-data/sample_data": "grace_hopper.jpg",
}
SIZE_PX = 360


def gather(folder: Path) -> None:
    """Copy the pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, names in PICTURES.items():
        package, _, inner = place.partition("/")
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            sys.exit(f"{package} is not installed: pip install -c constraints.txt '.[builtin-model]'")
        for name in names.split():
            shutil.copy(Path(spec.submodule_search_locations[0], inner, name), folder / f"{package}_{name}")


def film(folder: Path, source: str, per_class: int, seed: int) -> None:
    """Film the pictures and videos below a folder that can be read."""
    pictures = FoundPictures(stills_of(sample.path for sample in find_pictures(source).samples), SIZE_PX)
    stills = []
    for number, still in enumerate(pictures.stills):
        try:
            pictures[number]
            stills.append(still)
        except VideoError as error:
            print(f"left out: {error.message}")
    print(f"filming {len(stills)} pictures of {len({still.path for still in stills})} files")
    for path in film_files(folder, [FoundPictures(tuple(stills), SIZE_PX)], per_class=per_class, seed=seed):
        print(path)


def pack(run: Path, folder: Path) -> None:
    """Write the model of a run in half precision, with what a checkpoint folder needs and nothing else."""
    model = VideoMAEForVideoClassification.from_pretrained(run)
    model.half().save_pretrained(folder)
    VideoMAEImageProcessor.from_pretrained(run).save_pretrained(folder)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>9} {path}")


if __name__ == "__main__":
    command, target, *arguments = sys.argv[1:]
    if command == "gather":
        gather(Path(target))
    elif command == "film":
        film(Path(target), arguments[0], int(arguments[1]), int(arguments[2]))
    else:
        pack(Path(target), Path(arguments[0]))
