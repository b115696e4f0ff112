"""Whether several tracks hold features of the same files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vqa_twostage.pipeline.cache.track import Track
from vqa_twostage.pipeline.wording import first_of

NAMED = 3  # ids in a sentence


def of_different_files(tracks: Sequence[Track]) -> Iterator[str]:
    """A sentence for each track with features of other files than the first track has under the
    same ids: a file was replaced after one of the two was extracted, or machines had other copies.

    Imported tracks say nothing of the files that their features were made of, and are left out.
    """
    extracted = {track.path: track for track in tracks if not track.identity.source}
    if len(extracted) < 2:
        return
    first, *others = extracted.values()
    files = _files(first)
    for other in others:
        differing = sorted(
            video_id
            for video_id, file in _files(other).items()
            if files.get(video_id, file) != file
        )
        if differing:
            yield (
                f"{first.path} and {other.path} hold features of different files under the same "
                f"ids: {first_of(differing, NAMED)}. vqa-extract with the options of both "
                "tracks extracts again what is not of the files at hand"
            )


def _files(track: Track) -> dict[str, str]:
    """The digest of each video's file, by its id."""
    return {video_id: digest for video_id, (_, _, digest) in track.sources().items()}
