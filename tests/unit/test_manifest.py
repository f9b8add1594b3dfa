"""Folders and lists -> videos and labels; what is wrong with them is told at once, line by line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from videomae_cli.data.manifest import Manifest, Sample, read_manifest, split
from videomae_cli.errors import UsageError


def touch(top: Path, *names: str) -> Path:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    return top


def found(manifest: Manifest, top: Path) -> list[tuple[str, int | None]]:
    return [(os.path.relpath(sample.path, top), sample.label) for sample in manifest.samples]


def refused(*arguments: object, **options: object) -> str:
    with pytest.raises(UsageError) as caught:
        read_manifest(*arguments, **options)  # type: ignore[arg-type]
    assert caught.value.hint
    return caught.value.message


# ---- folders ---------------------------------------------------------------------------------------------------------


def test_classes_are_the_folders_sorted_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "walk/b.mp4", "walk/a.MKV", "run/deep/er/x.webm", "run/a.avi", "Zoo/1.mp4")
    manifest = read_manifest(str(tmp_path))
    assert manifest.labels == ("Zoo", "run", "walk")
    assert found(manifest, tmp_path) == [
        ("Zoo/1.mp4", 0),
        ("run/a.avi", 1),
        ("run/deep/er/x.webm", 1),
        ("walk/a.MKV", 2),
        ("walk/b.mp4", 2),
    ]
    assert manifest.samples[2].source == str(tmp_path / "run")
    assert manifest.notes == ()


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "a/.2.mp4", "a/notes.txt", "a/.cache/3.mp4", ".git/4.mp4", "a/.DS_Store")
    os.mkfifo(tmp_path / "a" / "pipe.mp4")
    assert found(read_manifest(str(tmp_path)), tmp_path) == [("a/1.mp4", 0)]


def test_a_folder_of_pictures_is_one_video(tmp_path: Path) -> None:
    touch(tmp_path, "a/v1/1.jpg", "a/v1/2.jpg", "a/v1/notes.txt", "a/deep/v2/1.png", "b/c.mp4", "b/thumbs/1.png")
    touch(tmp_path, "b/mixed/1.png", "b/mixed/d.mp4")
    assert found(read_manifest(str(tmp_path)), tmp_path) == [
        ("a/deep/v2", 0),
        ("a/v1", 0),
        ("b/c.mp4", 1),
        ("b/mixed/d.mp4", 1),
        ("b/thumbs", 1),
    ]


def test_loops_of_links_are_walked_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "a/sub/2.mp4")
    (tmp_path / "a" / "sub" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "gone.mp4").symlink_to(tmp_path / "nowhere")
    assert found(read_manifest(str(tmp_path)), tmp_path) == [("a/1.mp4", 0), ("a/gone.mp4", 0), ("a/sub/2.mp4", 0)]


def test_classes_without_videos_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "b/notes.txt", "c/frame.jpg")
    assert "classes without videos: 'b', 'c'" in refused(str(tmp_path))


def test_no_classes(tmp_path: Path) -> None:
    touch(tmp_path, "1.mp4")
    assert "holds no folders" in refused(str(tmp_path))


def test_videos_outside_of_classes_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "2.mp4", "3.mp4")
    (note,) = read_manifest(str(tmp_path)).notes
    assert "2 videos outside" in note


def test_validation_has_the_classes_of_training(tmp_path: Path) -> None:
    touch(tmp_path, "run/1.mp4", "walk/2.mp4")
    manifest = read_manifest(str(tmp_path), labels=["jump", "run", "walk"])
    assert manifest.labels == ("jump", "run", "walk")
    assert found(manifest, tmp_path) == [("run/1.mp4", 1), ("walk/2.mp4", 2)]
    assert "not trained: 'walk'" in refused(str(tmp_path), labels=["jump", "run"])


def test_any_tree_without_labels(tmp_path: Path) -> None:
    touch(tmp_path, "1.mp4", "x/y/2.mp4", "x/frames/1.jpg")
    manifest = read_manifest(str(tmp_path), labelled=False)
    assert found(manifest, tmp_path) == [("1.mp4", None), ("x/frames", None), ("x/y/2.mp4", None)]
    assert manifest.labels == ()
    assert "no video found" in refused(str(touch(tmp_path / "e", "a.txt")), labelled=False)


# ---- lists: formats --------------------------------------------------------------------------------------------------


def write_list(top: Path, text: str | bytes, name: str = "list.csv") -> str:
    (top / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
    return str(top / name)


TWO = [("a.mp4", 0), ("b/c d.mp4", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4,0\nb/c d.mp4,1\n",
        "a.mp4\t0\nb/c d.mp4\t1",
        "a.mp4 0\nb/c d.mp4 1\n",  # Kinetics lists of V1
        "a.mp4 0\r\nb/c d.mp4 1\r\n",
        "a.mp4 120 0\nb/c d.mp4 96 1\n",  # Something-Something lists of V1: frames are counted
        'a.mp4,0\n"b/c d.mp4",1\n',
        '"a.mp4" 0\n"b/c d.mp4" 1\n',
        '"a.mp4"\t0\n"b/c d.mp4"\t1\n',
        "path,label\na.mp4,0\nb/c d.mp4,1\n",
        "Label,Path\n0,a.mp4\n1,b/c d.mp4\n",
        "split,video,class,comment\nx,a.mp4,0,one\ny,b/c d.mp4,1,two\n",
        "path label\na.mp4 0\nb/c d.mp4 1\n",
        "0,a.mp4\n1,b/c d.mp4\n",
        "\n# a comment, with a comma\na.mp4,0\n\n   \nb/c d.mp4, 1\n# end",
        "\ufeffa.mp4,0\nb/c d.mp4,1\n",
        "\ufeffpath,label\na.mp4,0\nb/c d.mp4,1\n",
    ],
)
def test_formats(tmp_path: Path, text: str) -> None:
    manifest = read_manifest(write_list(tmp_path, text))
    assert found(manifest, tmp_path) == TWO
    assert manifest.labels == ("0", "1")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a.mp4,walk\nb/c d.mp4,eat cake", ("eat cake", "walk")),
        ('a.mp4,walk\nb/c d.mp4,"eat, drink"', ("eat, drink", "walk")),
        ("a.mp4\twalk\nb/c d.mp4\teat, drink", ("eat, drink", "walk")),
        ('a.mp4 walk\nb/c d.mp4 "eat cake"', ("eat cake", "walk")),
        ("a.mp4 walk\nb/c d.mp4 eat cake", ("eat cake", "walk")),
        ("a.mp4 120 walk\nb/c d.mp4 64 eat cake", ("eat cake", "walk")),
        ('"a.mp4" walk\n"b/c d.mp4" "eat cake"', ("eat cake", "walk")),
        ("walk,a.mp4\neat,b/c d.mp4", ("eat", "walk")),
    ],
)
def test_class_names_are_sorted(tmp_path: Path, text: str, labels: tuple[str, ...]) -> None:
    manifest = read_manifest(write_list(tmp_path, text))
    assert manifest.labels == labels
    assert found(manifest, tmp_path) == [("a.mp4", 1), ("b/c d.mp4", 0)]


def test_samples_tell_their_lines(tmp_path: Path) -> None:
    path = write_list(tmp_path, "path,label\n\n# note\na.mp4,x\nb.mp4,y\n")
    assert [sample.source for sample in read_manifest(path).samples] == [f"{path}:4", f"{path}:5"]


def test_frame_folders_are_told_by_their_presence(tmp_path: Path) -> None:
    touch(tmp_path, "v/12/1.jpg", "v/7/1.jpg")
    for text in ("v/12,0\nv/7,1", "0,v/12\n1,v/7", 'v/12 "a b"\nv/7 "c d"', "v/12 40 0\nv/7 38 1", "v/12\t0\nv/7\t1"):
        assert found(read_manifest(write_list(tmp_path, text)), tmp_path) == [("v/12", 0), ("v/7", 1)]


def test_names_in_any_encoding(tmp_path: Path) -> None:
    manifest = read_manifest(write_list(tmp_path, "café\u2028.mp4,0\n".encode() + b"\xff.mp4,1\n"))
    assert [os.fsencode(sample.path) for sample in manifest.samples] == [
        os.fsencode(tmp_path / "café\u2028.mp4"),
        os.fsencode(tmp_path) + b"/\xff.mp4",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4\nb/c d, e.mp4\n",
        "a.mp4 0 -1\nb/c d, e.mp4 0 -1\n",  # pretraining lists of V1
        "a.mp4\t3\nb/c d, e.mp4\t-4\n",
        'a.mp4,x\n"b/c d, e.mp4",y\n',
        "path\na.mp4\nb/c d, e.mp4\n",
    ],
)
def test_paths_without_labels(tmp_path: Path, text: str) -> None:
    manifest = read_manifest(write_list(tmp_path, text), labelled=False)
    assert found(manifest, tmp_path) == [("a.mp4", None), ("b/c d, e.mp4", None)]
    assert manifest.labels == ()


# ---- lists: labels ---------------------------------------------------------------------------------------------------


def test_names_of_indices_beside_the_list(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("walk\nrun\n")
    assert read_manifest(write_list(tmp_path, "a.mp4,1\nb.mp4,0\n")).labels == ("walk", "run")
    assert "list.csv:1: the label 2 is out of range: there are 2 classes" in refused(
        write_list(tmp_path, "a.mp4,2\nb.mp4,0\n")
    )


@pytest.mark.parametrize(
    ("labels", "text", "indices"),
    [
        (["jump", "run", "walk"], "a.mp4,walk\nb.mp4,run", [2, 1]),
        (["jump", "run", "walk"], "a.mp4,2\nb.mp4,0", [2, 0]),
        (["0", "1", "10", "2"], "a.mp4,10\nb.mp4,2", [2, 3]),  # folders named by numbers: names before indices
    ],
)
def test_lists_for_validation(tmp_path: Path, labels: list[str], text: str, indices: list[int]) -> None:
    manifest = read_manifest(write_list(tmp_path, text), labels=labels)
    assert [sample.label for sample in manifest.samples] == indices
    assert manifest.labels == tuple(labels)


def test_labels_that_were_not_trained(tmp_path: Path) -> None:
    assert ":2: the class 'fly' is not among those trained: run, walk" in refused(
        write_list(tmp_path, "a.mp4,walk\nb.mp4,fly"), labels=["run", "walk"]
    )
    assert ":2: the label 2 is out of range: there are 2 classes" in refused(
        write_list(tmp_path, "a.mp4,1\nb.mp4,2"), labels=["run", "walk"]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4,0\nb.mp4\n", ":2: there is no label"),
        ("a.mp4,0\nb.mp4,\n", ":2: there is no label"),
        ("a.mp4,0\n,1\n", ":2: there is no path"),
        ("a b.mp4\nc d.mp4\n", ":1: there is no label"),
        ("a.mp4,0\nb.mp4,-1\n", ":2: the label -1 is negative"),
        ("a.mp4,0\nb.mp4,1\nc.mp4,l\n", ":3: the label 'l' is no number"),
        ("clipname,id\na.mp4,0\nb.mp4,1\n", ":1: the label 'id' is no number"),
        ("a.mp4,0\nb.mp4,1\na.mp4,1\n", ":3: '{top}/a.mp4' has the label '1' here, and another in line 1"),
        ("a.mp4,x\n./a.mp4,y\n", ":2: '{top}/a.mp4' has the label 'y' here, and another in line 1"),
        ('a.mp4,0\n"b.mp4,1\n', ":2: cannot be parted into columns"),
        ("a.mp4,0\nb.mp4,2\n", "no video for 1 of them: 1"),
        ("a.mp4,0\nb.mp4,999999999\n", "no video for 999999998 of them: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..."),
        ("", "names no video"),
        ("# nothing\n\n", "names no video"),
        ("path,label\n", "names no video"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert message.format(top=tmp_path) in refused(write_list(tmp_path, text))


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = "".join(f"{k}.mp4,{k}\n" for k in range(20)) + "".join(f"x{k}.mp4\n" for k in range(13))
    message = refused(write_list(tmp_path, text))
    assert message.startswith("13 lines of ")
    assert [line.rpartition("list.csv:")[2].partition(":")[0] for line in message.splitlines()[1:-1]] == [
        str(line) for line in range(21, 31)
    ]
    assert message.endswith("and 3 more")


def test_repeated_lines_are_noted(tmp_path: Path) -> None:
    manifest = read_manifest(write_list(tmp_path, "a.mp4,0\nb.mp4,1\na.mp4,0\n./b.mp4,1\n"))
    assert found(manifest, tmp_path) == [("a.mp4", 0), ("b.mp4", 1)]
    (note,) = manifest.notes
    assert "repeats 2 of its lines" in note


def test_a_video_is_no_list(tmp_path: Path) -> None:
    assert "is no list: it holds zero bytes" in refused(write_list(tmp_path, b"\0\0\0\x18ftyp", "a.mp4"))
    assert "no such file or folder" in refused(str(tmp_path / "none"))


# ---- lists: where paths may lead -------------------------------------------------------------------------------------


def test_relative_paths_begin_at_the_list_or_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_list(tmp_path, "a/../b.mp4,0\n")
    assert read_manifest(path).samples[0].path == str(tmp_path / "b.mp4")
    touch(tmp_path, "sub/x")
    assert read_manifest(path, root=str(tmp_path / "sub")).samples[0].path == str(tmp_path / "sub" / "b.mp4")
    monkeypatch.chdir(tmp_path)
    assert read_manifest("list.csv").samples[0].path == "b.mp4"
    assert read_manifest("list.csv", root="sub").samples[0].path == "sub/b.mp4"
    assert "there is no folder 'none'" in refused("list.csv", root="none")


@pytest.mark.parametrize("bad", ["../b.mp4", "x/../../b.mp4", "..", ".", "../{name}x/b.mp4"])
def test_no_relative_path_leaves_the_folder(tmp_path: Path, bad: str) -> None:
    bad = bad.format(name=tmp_path.name)
    for options in ({}, {"root": str(tmp_path)}):
        message = refused(write_list(tmp_path, f"a.mp4,0\n{bad},1\n"), **options)
        assert f":2: {bad!r} leads out of the folder" in message


def test_absolute_paths_are_confined_to_a_root_that_was_named(tmp_path: Path) -> None:
    path = write_list(tmp_path, f"{tmp_path}/a.mp4,0\n/elsewhere/b.mp4,1\n")
    assert [sample.path for sample in read_manifest(path).samples] == [f"{tmp_path}/a.mp4", "/elsewhere/b.mp4"]
    assert ":2: '/elsewhere/b.mp4' leads out of" in refused(path, root=str(tmp_path))


# ---- split -----------------------------------------------------------------------------------------------------------


def manifest_of(*names: str, labels: list[int | None] | None = None) -> Manifest:
    """Without `labels`, a name's first letter is its class."""
    classes = labels or ["abcdef".index(name[0]) for name in names]
    return Manifest(
        tuple(Sample(f"/v/{name}", label, "list") for name, label in zip(names, classes, strict=True)), tuple("abcdef")
    )


def names_of(manifest: Manifest) -> list[str]:
    return [os.path.basename(sample.path) for sample in manifest.samples]


TWENTY = [f"{letter}{k}.mp4" for letter in "ab" for k in range(10)]


def test_every_class_is_held_back_alike() -> None:
    training, validation = split(manifest_of(*TWENTY), 0.3, seed=0)
    assert sorted(names_of(training) + names_of(validation)) == sorted(TWENTY)
    assert names_of(training) == [name for name in TWENTY if name in names_of(training)]  # in their order
    assert [sample.label for sample in validation.samples] == [0, 0, 0, 1, 1, 1]
    assert training.labels == validation.labels == tuple("abcdef")


def test_the_seed_decides() -> None:
    assert split(manifest_of(*TWENTY), 0.3, 1) == split(manifest_of(*TWENTY), 0.3, 1)
    assert len({tuple(names_of(split(manifest_of(*TWENTY), 0.3, seed)[1])) for seed in range(10)}) > 5


@pytest.mark.parametrize(
    ("names", "fraction", "held"),
    [
        (["a1", "a2", "b1", "b2", "b3", "b4"], 0.01, {"a": 1, "b": 1}),  # one at least
        (["a1", "b1", "b2"], 0.5, {"b": 1}),  # and one is left
        (["a1", "a2", "b1", "b2"], 0.99, {"a": 1, "b": 1}),
        ([f"a{k}" for k in range(5)], 0.8, {"a": 4}),
    ],
)
def test_few_videos(names: list[str], fraction: float, held: dict[str, int]) -> None:
    for seed in range(8):
        training, validation = split(manifest_of(*names), fraction, seed)
        assert {letter: sum(n[0] == letter for n in names_of(validation)) for letter in held} == held
        assert {n[0] for n in names_of(training)} == {n[0] for n in names}


@pytest.mark.parametrize(
    "clips",
    [
        ["abcdefghijk_000010_000020.mp4", "abcdefghijk_000030_000040.mp4"],
        ["a_v-1234567_000001_000011.mp4", "a_v-1234567_000002_000012.mkv"],
    ],
)
def test_clips_of_one_kinetics_video_stay_together(clips: list[str]) -> None:
    names = [*clips, *(f"a{k}.mp4" for k in range(6))]
    for seed in range(12):
        parts = [set(names_of(part)) & set(clips) for part in split(manifest_of(*names), 0.3, seed)]
        assert set() in parts


def test_clips_of_one_ucf101_group_stay_together() -> None:
    names = [f"v_Archery_g{group:02}_c{clip:02}.avi" for group in range(1, 6) for clip in range(1, 4)]
    manifest = manifest_of(*names, labels=[0] * 15)
    for seed in range(8):
        training, validation = split(manifest, 0.2, seed)
        assert len(validation.samples) == 3
        assert not {n[:13] for n in names_of(training)} & {n[:13] for n in names_of(validation)}


def test_a_large_recording_is_not_held_back_for_a_small_fraction() -> None:
    names = [*(f"a2345678901_{k:06}_{k + 10:06}.mp4" for k in range(8)), "a1.mp4", "a2.mp4"]
    for seed in range(8):
        assert names_of(split(manifest_of(*names), 0.1, seed)[1])[0] in {"a1.mp4", "a2.mp4"}


def test_links_to_one_file_stay_together(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{k}.mp4" for k in range(4)))
    for k in range(4):
        (tmp_path / f"link{k}.mp4").symlink_to(tmp_path / f"{k}.mp4")
    names = [str(tmp_path / f"{prefix}{k}.mp4") for k in range(4) for prefix in ("", "link")]
    manifest = Manifest(tuple(Sample(name, None, "list") for name in names), ())
    training, validation = split(manifest, 0.5, seed=0)
    assert len(validation.samples) == 4
    assert not {name[-5] for name in names_of(training)} & {name[-5] for name in names_of(validation)}


def test_no_fraction_holds_nothing_back() -> None:
    manifest = manifest_of(*TWENTY)
    assert split(manifest, 0, seed=0) == (manifest, Manifest((), manifest.labels))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 3])
def test_fractions_out_of_range(fraction: float) -> None:
    with pytest.raises(UsageError, match="validation fraction"):
        split(manifest_of(*TWENTY), fraction, seed=0)


def test_too_few_to_hold_one_back() -> None:
    with pytest.raises(UsageError, match="2 videos of 2 recordings are too few"):
        split(manifest_of("a1.mp4", "b1.mp4"), 0.5, seed=0)
