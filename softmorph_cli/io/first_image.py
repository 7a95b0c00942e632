"""The first image of a file with several channels or times: the grey image behind a picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from softmorph_cli.io.raw import Raw


def first_image(raw: Raw) -> Raw:
    """Return the first image of several channels or times, with spatial axes only; of colours the luminance.

    Luma weights are those of Rec. ITU-R BT.601. The notes are one sentence on what was taken, if there is more.
    """
    letters, array, notes = raw.axes or "", raw.array, []
    for letter in [one for one in letters if one not in "ZYX"]:
        axis = letters.index(letter)
        count = array.shape[axis]
        letters = letters[:axis] + letters[axis + 1 :]
        if raw.colour and letter == "C" and count >= 3:
            samples = np.moveaxis(array, axis, 0)[:3].astype(np.float32)
            array = np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), samples, axes=(0, 0))
            notes.append("its colours as grey")
            continue
        array = array.take(0, axis)
        if count > 1:
            names = f" ({raw.channels[0]})" if letter == "C" and raw.channels else ""
            notes.append(f"{'channel' if letter == 'C' else f'axis {letter}'} 0{names} of {count}")
    return replace(raw, array=array, axes=letters, channels=None, colour=False, notes=tuple(notes))
