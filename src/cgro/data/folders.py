"""Images in folders by class, as many data sets are shipped."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from cgro._check import bad, listed
from cgro.data.images import FORMATS, Images
from cgro.data.links import links_out_of
from cgro.data.listing import FilesOnDisk, Listing, listing_of
from cgro.data.raw import AS_TEST, Part, Raw, shown
from cgro.data.storage import AS_STORED, Storage
from cgro.reading import read_bytes, require_room
from cgro.writing import sha256

OF_SYSTEMS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin")
"""What Windows, macOS and network storage leave in folders, in small letters; hidden files are skipped as well."""
ENDINGS = tuple(ending for endings in FORMATS.values() for ending in endings)


def class_folders(root: Path, storage: Storage = AS_STORED) -> Raw:
    """Images in folders by class, either ROOT/class/image or ROOT/train/class/image beside ROOT/test/class/image.

    Labels follow the names: by value if all are numbers, else in alphabetical order. The checksum covers names and
    bytes; of a set that is streamed, names, sizes and the bytes of some (`Listing.digest`), and the size to which
    images are brought. `val` or `validation` serves as test part where there is no `test`, and the note says so. Hidden
    files and those of operating systems, such as Thumbs.db, are left out; the remarks name the latter.

    Args:
        root: the folder.
        storage: whether images are held or streamed, and their size.

    Returns:
        The training part and, where there is one, the test part; images are decoded when they are asked for.

    Raises:
        BadRequest: no class folders, an empty one, other classes in the test part, a file that is no image.
    """
    parts = _folders(root)
    note = shown(root.name) + storage.note()
    if "train" not in parts:
        return _Folder(root, storage, root, None).read(note)
    strange = sorted(set(parts) - {"train", *AS_TEST})
    if strange:
        raise bad(str(root), expected="train/ and test/, or only class folders", got=listed(["train", *strange]))
    test_name = next((name for name in AS_TEST if name in parts), None)
    if test_name is None:
        return _Folder(root, storage, root / "train", None).read(note)
    if test_name != "test":
        note += f" ({test_name} part as test)"
    raw = _Folder(root, storage, root / "train", root / test_name).read(note)
    others = [name for name in AS_TEST if name in parts and name != test_name]
    if others:
        said = f"{shown(root.name)}: left out {listed(others)}, beside {test_name}; --validation takes part of train"
        raw = replace(raw, remarks=(*raw.remarks, said))
    return raw


@dataclass(frozen=True)
class _Folder:
    """A data set in class folders, before it is read: where its parts are."""

    root: Path
    storage: Storage
    train: Path
    test: Path | None

    def read(self, note: str) -> Raw:
        """Both parts."""
        classes = self._classes(self.train)
        listings = [self._listed(self.train, classes)]
        if self.test is not None:
            of_test = self._classes(self.test)
            listings.append(self._listed(self.test, of_test))
            if of_test != classes:
                others = sorted(set(of_test) ^ set(classes))
                expected = "the class folders of train/"
                raise bad(str(self.test), expected=expected, got="other ones: " + listed(others))
        streamed, remarks = self._is_streamed(listings)
        remarks += _remarks(self.root, classes)
        folders = [self.root, self.train]
        if self.test is not None:
            folders.append(self.test)
        for listing in listings:
            folders += listing.folders
        remarks += links_out_of(self.root, folders, _is_visible)
        train = _read(listings[0], streamed, None, self.storage)
        test = None
        digest = train.sha256
        if self.test is not None:
            found = _read(listings[1], streamed, train.images, self.storage)
            test = Part(found.images, listings[1].labels)
            digest = sha256((train.sha256 + found.sha256).encode())
        labels = listings[0].labels
        return Raw(train.images, labels, test, str(self.root), digest, note, tuple(classes), tuple(remarks))

    def _classes(self, part: Path) -> list[str]:
        classes = _in_order(_folders(part))
        if len(classes) < 2:
            expected = "at least two class folders with images"
            raise bad(str(part), expected=expected, got=listed(classes) or "none")
        return classes

    def _listed(self, part: Path, classes: list[str]) -> Listing:
        return listing_of(self.root, [part / name for name in classes], ENDINGS, _is_visible)

    def _is_streamed(self, listings: list[Listing]) -> tuple[bool, list[str]]:
        """The decision, by the header of the first image, and what is said of it."""
        n_images = sum(len(listing) for listing in listings)
        form = _images(listings[0], None, self.storage).form
        n_bytes = sum(int(listing.sizes.sum()) for listing in listings) + n_images * math.prod(form)
        if not self.storage.streams(n_bytes):
            return False, []
        # The first image of each class, so that a set of mixed sizes is found before any work.
        for listing in listings:
            images = _images(listing, None, self.storage)
            starts = [int((listing.labels < label).sum()) for label in range(len(listing.folders))]
            images.check_headers(starts, form)
        return True, [self.storage.remark(shown(self.root.name), n_images, n_bytes)]


@dataclass(frozen=True)
class _Read:
    """The images of a part and the checksum of its files."""

    images: Images
    sha256: str


def _images(listing: Listing, like: Images | None, storage: Storage) -> Images:
    files = FilesOnDisk(listing)
    return Images(files, listing.name_of, like, sizes=listing.sizes, side=storage.image_size)


def _read(listing: Listing, streamed: bool, like: Images | None, storage: Storage) -> _Read:
    if streamed:
        digest = listing.digest()
        if storage.image_size is not None:
            digest = sha256(f"{digest} at {storage.image_size}".encode())
        return _Read(_images(listing, like, storage), digest)
    n_bytes = int(listing.sizes.sum())
    require_room(n_bytes, n_bytes, os.path.commonpath(listing.folders))
    encoded: list[bytes] = []
    digested: list[bytes] = []
    for row in range(len(listing)):
        path = Path(listing.name_of(row))
        content = read_bytes(path)
        head = f"{path.relative_to(listing.root).as_posix()}\0{len(content)}\0"
        # surrogateescape: names in another encoding than UTF-8 count with their own bytes
        digested += [head.encode(errors="surrogateescape"), content]
        encoded.append(content)
    if storage.image_size is not None:
        digested.append(f"at {storage.image_size}".encode())
    return _Read(Images(encoded, listing.name_of, like, side=storage.image_size), sha256(*digested))


def _remarks(root: Path, classes: list[str]) -> list[str]:
    """What the caller should know of how the folder was read."""
    remarks: list[str] = []
    left_out = sorted(_of_systems(root))
    if left_out:
        remarks.append(f"{shown(root.name)}: left out {listed(shown(name) for name in left_out)}, of the system")
    as_text = sorted(classes)
    for label, (name, other) in enumerate(zip(classes, as_text, strict=True)):
        if name != other:
            remarks.append(
                f"{shown(root.name)}: class folders are ordered as numbers: label {label} is folder {name}. In order "
                f"of text, as torchvision's ImageFolder has it, label {label} is folder {other}: the outputs of a "
                "network that was trained in that order must be permuted"
            )
            break
    return remarks


def _of_systems(root: Path) -> set[str]:
    """Names in a folder and below it that an operating system left."""
    found: set[str] = set()
    for _, folders, files in os.walk(root):
        found.update(name for name in (*folders, *files) if name.lower() in OF_SYSTEMS)
    return found


def _is_visible(name: str) -> bool:
    """Whether a file or folder belongs to the data: not hidden, and none of an operating system."""
    return not name.startswith(".") and name.lower() not in OF_SYSTEMS


def _folders(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.is_dir() and _is_visible(path.name)]


def _in_order(names: list[str]) -> list[str]:
    if all(name.isdecimal() for name in names):
        return sorted(names, key=int)
    return sorted(names)
