"""Arrays as short text for the page: 16 bits a value, in base64."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from jaxtyping import Float

UNDEFINED = 2**16 - 1  # the code of NaN
STEPS = UNDEFINED - 1


def packed(values: Float[np.ndarray, "*shape"]) -> dict[str, Any]:
    """`values` in equal steps between the smallest and the largest; `page/scripts/data.js` reads it.

    The error is at most half of `step`, which is the range / 65,534: below the third decimal of
    anything in [-1, 1].

    >>> packed(np.array([[0.0, 1.0, np.nan]]))
    {'lowest': 0.0, 'step': 1.525925473...e-05, 'data': 'AAD+////'}
    """
    finite = values[np.isfinite(values)]
    lowest = float(finite.min()) if finite.size else 0.0
    step = (float(finite.max()) - lowest) / STEPS if finite.size else 0.0
    codes = np.full(values.shape, UNDEFINED, dtype="<u2")
    codes[np.isfinite(values)] = np.round((finite - lowest) / (step or 1.0))
    data = base64.b64encode(codes.tobytes()).decode("ascii")
    return {"lowest": lowest, "step": step, "data": data}
