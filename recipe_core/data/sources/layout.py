"""How folders are read as splits and classes. Works on relative paths alone, so folders and archives share it."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from recipe_core.data.sources.base import Entry, Files

IMAGE_SUFFIXES = ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff", "avif")
DEPTH = 6  # levels of folders that decide the layout; only these are held in memory

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
}
# A lone folder of such a name says where the images are, not what they show.
_GENERIC = {
    *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "pic", "pics", "data", "dataset"),
    *("files", "samples", "frames", "raw", "all", "jpg", "jpgs", "jpeg", "jpegs", "jpegimages", "png", "pngs"),
}
_IGNORED = {"__MACOSX", "@eaDir"}  # copies and previews that macOS and Synology leave behind

Folder = tuple[str, ...]


def is_image(name: str) -> bool:
    """Whether a file is an image by its suffix."""
    return posixpath.splitext(name)[1].lower().removeprefix(".") in IMAGE_SUFFIXES


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden or left behind by a system."""
    return name.startswith(".") or name in _IGNORED


def split_name(name: str) -> str | None:
    """The split that a name stands for ("Validation" -> "val"), None where it is no split's name."""
    return SPLITS.get(name.strip().lower())


def parts_of(folder: str) -> Folder:
    """The first levels of a folder's path, as `detect` wants them."""
    return tuple(folder.split("/", DEPTH)[:DEPTH]) if folder else ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Which levels of folders mean what. Levels count from 0 below the wrapper; None where there is no such level."""

    kind: str
    wrapper: Folder
    split_level: int | None = None
    class_level: int | None = None

    def place(self, folder: str) -> tuple[str | None, str | None]:
        """(label, split) of the images in a folder."""
        parts = folder.split("/") if folder else []
        if tuple(parts[: len(self.wrapper)]) != self.wrapper:
            return None, None
        below = parts[len(self.wrapper) :]
        split = _at(below, self.split_level)
        return _at(below, self.class_level), split_name(split) if split else None


def detect(folders: set[Folder]) -> Layout:
    """The layout of the folders that hold images directly.

    Single folders around everything else are wrappers. A level is one of splits if all its folders have names of
    splits; the class is the first folder below the split, or the one above it (cat/train/x.jpg). As in torchvision's
    ImageFolder, what lies deeper is not looked at.
    """
    wrapper = _wrapper(folders)
    below = {folder[len(wrapper) :] for folder in folders if folder[: len(wrapper)] == wrapper}
    first, second = _level(below, 0), _level(below, 1)
    if not first:
        return Layout("flat folder", wrapper)
    if all(split_name(name) for name in first):
        class_level = 1
        while _is_one_generic(_level(below, class_level)):
            class_level += 1
        if _level(below, class_level):
            return Layout("splits and classes", wrapper, split_level=0, class_level=class_level)
        return Layout("splits", wrapper, split_level=0)
    if second and all(split_name(name) for name in second):
        return Layout("splits and classes", wrapper, split_level=1, class_level=0)
    return Layout("folder of classes", wrapper, class_level=0)


def _wrapper(folders: set[Folder]) -> Folder:
    """The path of single folders that everything stands in, as far as they are neither a split nor a class."""
    wrapper: Folder = ()
    while True:
        depth = len(wrapper)
        inside = {folder for folder in folders if folder[:depth] == wrapper}
        names = _level(inside, depth)
        if len(names) != 1:
            return wrapper
        (name,) = names
        holds_images = (*wrapper, name) in inside
        is_class = holds_images and name.lower() not in _GENERIC and len(_level(inside, depth + 1)) < 2
        if split_name(name) or is_class:
            return wrapper
        wrapper = (*wrapper, name)


def _level(folders: set[Folder], level: int) -> set[str]:
    return {folder[level] for folder in folders if len(folder) > level}


def _is_one_generic(names: set[str]) -> bool:
    return len(names) == 1 and next(iter(names)).lower() in _GENERIC


def _at(parts: list[str], level: int | None) -> str | None:
    return parts[level] if level is not None and level < len(parts) else None


class LaidOut:
    """The source whose splits and labels are the names of folders."""

    columns = None
    available = ()

    def __init__(self, files: Files):
        self._files = files
        self._layout: Layout | None = None

    @property
    def kind(self) -> str:
        return self._files.prefix + self._known_layout().kind

    def stands_above_images(self, key: str) -> bool:
        """Whether a file stands in the folder that all images share, or in one around it."""
        folder = parts_of(posixpath.dirname(key))
        return self._known_layout().wrapper[: len(folder)] == folder

    def entries(self, problems: list[str]) -> Iterator[Entry]:
        self._layout = layout = detect(self._files.folders())  # afresh: files may have come since
        last, label, split = None, None, None
        for key, token in self._files.images(problems):
            folder = key.rpartition("/")[0]
            if folder != last:
                last, (label, split) = folder, layout.place(folder)
            yield Entry(key, label, split, token)

    def read(self, key: str) -> bytes:
        return self._files.read(key)

    def _known_layout(self) -> Layout:
        if self._layout is None:
            self._layout = detect(self._files.folders())
        return self._layout
