"""Whether a data set is held in memory or streamed from a disk, and the size its images are brought to."""

from dataclasses import dataclass
from typing import Literal

from cgro._check import bad, count, one_of
from cgro.reading import memory_left

StreamChoice = Literal["auto", "yes", "no"]
"""See `Storage`."""
SHARE_OF_MEMORY = 0.5
"""Share of the memory that is left which a data set may fill before `auto` streams it. A choice: the other half is for
the network, its activations and the float32 copies of what is evaluated."""
MEGABYTE = 1e6


@dataclass(frozen=True)
class Storage:
    """How images are kept.

    Args:
        stream: `yes`: an index is held, and images are read and decoded when they are asked for; `no`: all are held;
            `auto`: streamed where they would take more than `SHARE_OF_MEMORY` of the memory that is left. Which of the
            two changes no bit of a result, only the checksum (see `cgro.data.folders.class_folders`).
        image_size: pixels of a side to which images of any size are brought; None: all must have one size.

    Raises:
        BadRequest: another choice, a size below 1.
    """

    stream: StreamChoice = "auto"
    image_size: int | None = None

    def __post_init__(self) -> None:
        one_of(self.stream, "stream", ("auto", "yes", "no"))
        if self.image_size is not None:
            count(self.image_size, "image_size")

    def streams(self, n_bytes: int) -> bool:
        """Decide.

        Args:
            n_bytes: of the data set in memory, encoded images and pixels.

        Returns:
            Whether it is streamed.

        Example:
            >>> Storage("no").streams(1 << 60), Storage().streams(1 << 60), Storage().streams(1)
            (False, True, False)
        """
        if self.stream == "auto":
            return n_bytes > SHARE_OF_MEMORY * memory_left()
        return self.stream == "yes"

    def remark(self, name: str, n_images: int, n_bytes: int) -> str:
        """What is said of a data set that is streamed.

        Args:
            name: of the data set.
            n_images: in all parts.
            n_bytes: that it would take in memory.

        Returns:
            One sentence.
        """
        why = "as --stream yes says"
        if self.stream == "auto":
            why = f"more than {SHARE_OF_MEMORY:.0%} of the memory that is left; --stream no holds it all the same"
        return (
            f"{name}: {n_images:,} images are read from the disk and decoded when they are needed; held in memory they "
            f"would take {n_bytes / MEGABYTE:,.0f} MB ({why})"
        )

    def note(self) -> str:
        """What results say of images that were scaled.

        Returns:
            Such as " (images cut and scaled to 64x64)"; "" where they are as they were.
        """
        if self.image_size is None:
            return ""
        return f" (images cut and scaled to {self.image_size}x{self.image_size})"

    def refuse_for_arrays(self, what: str) -> None:
        """Refuse choices that have no effect on a data set that is held as arrays.

        Args:
            what: the data set, for the message.

        Raises:
            BadRequest: it is to be streamed, or its images scaled.
        """
        if self.stream == "yes":
            raise bad("--stream", expected=f"auto or no for {what}, which is held in memory as arrays", got="yes")
        if self.image_size is not None:
            raise bad("--image-size", expected=f"none for {what}, whose images have one size", got=self.image_size)


AS_STORED = Storage()
"""Streamed where needed, images as they are."""
HELD = Storage("no")
"""Of the data sets that have a name, which fit any machine."""
