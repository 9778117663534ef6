"""Pictures of numbers that have no agreed scale would become black, white or noise in silence."""

import numpy as np
import pytest
from PIL import Image

from semaug.data.check import check
from tests.data.image_files import write_image

RAMP = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (RAMP, "mode F of TIFF"),
        (RAMP * 60 + 270, "mode F of TIFF"),  # degrees
        ((RAMP * 65535).astype(np.int32), "mode I of TIFF, signed"),
        ((RAMP * 4095).astype(np.uint16), "mode I;16 of 16 bits with no level above 4,095"),
    ],
)
def test_each_picture_is_named_with_its_mode(tmp_path, pixels, said):
    write_image(tmp_path / "cat/1.png")
    write_image(tmp_path / "dog/1.png")
    Image.fromarray(pixels).save(tmp_path / "dog/scan.tif")
    (problem,) = check("folder", tmp_path).problems
    assert problem.path == tmp_path / "dog/scan.tif"
    assert said in problem.message
    assert "convert it to 8 bits" in problem.message


def test_sixteen_bits_keep_all_their_levels(tmp_path):
    write_image(tmp_path / "cat/1.png")
    (tmp_path / "dog").mkdir()
    Image.fromarray((RAMP * 65535).astype(np.uint16)).save(tmp_path / "dog/1.png")
    report = check("folder", tmp_path)
    assert report.problems == ()
