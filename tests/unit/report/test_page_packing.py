import base64

import numpy as np
import pytest

from taskdepth.report.packing import packed


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=(5, 7)),
        np.full((2, 2), 3.5),
        np.array([[0.0, np.nan], [1.0, -1.0]]),
        np.full((1, 3), np.nan),
        np.zeros((0, 4)),
        np.array([[1e-12, 4000.0]]),
    ],
    ids=["random", "constant", "some undefined", "all undefined", "empty", "wide"],
)
def test_what_is_packed_comes_back_within_half_a_step(values: np.ndarray) -> None:
    content = packed(values)
    codes = np.frombuffer(base64.b64decode(content["data"]), dtype="<u2")
    back = np.where(codes == 65535, np.nan, content["lowest"] + content["step"] * codes)
    limit = 0.5001 * content["step"] + 1e-12
    np.testing.assert_allclose(back, values.ravel(), rtol=0, atol=limit)
