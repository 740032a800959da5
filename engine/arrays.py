"""Names for the types of numpy arrays. Shapes stand in docstrings, in brackets: `[n, e]`."""

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
# Any precision of these: results follow that of the arguments, or are Float64s.
Floats = npt.NDArray[np.floating]
