"""Names for the types of numpy arrays, and vectors as text. Shapes stand in docstrings, in brackets: `[n, e]`."""

import base64

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
# Any precision of these: results follow that of the arguments, or are Float64s.
Floats = npt.NDArray[np.floating]


def pack_vector(vector: Float32s) -> str:
    """Return a vector [d] as text: base64 of its little-endian float32 numbers."""
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode()


def unpack_vector(text: str) -> Float32s:
    """Return the vector [d] of a text of `pack_vector`."""
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32, copy=False)
