# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pictures of cutouts: colours, titles, orientation, and cutouts with nothing in them."""

import numpy as np
import pytest

from astro_morph import CutoutSet, plotting
from astro_morph.tests.helpers import gaussian, make_blobs


@pytest.fixture
def flux():
    """Sky noise of 1 in g, r and i, with a galaxy in the middle of the only cutout."""
    images = np.random.default_rng(0).normal(size=(1, 3, 24, 24))
    return images + 50 * gaussian(24, sigma=2)


def pictures_of(figure):
    return [axes.images[0].get_array() for axes in figure.axes]


def test_rgb_has_the_last_band_in_red(flux):
    flux[:, 2] *= 3
    picture = plotting.rgb(flux)[0]
    assert picture.dtype == np.uint8
    assert picture.shape == (24, 24, 3)
    red, green, blue = picture[12, 12].astype(int)
    assert red > green + 30
    assert abs(green - blue) < 20


def test_rgb_shows_galaxy_bright_and_sky_dark(flux):
    picture = plotting.rgb(flux)[0]
    assert picture[11:13, 11:13].min() > 100
    assert np.median(picture[:4]) < 40


def test_rgb_does_not_depend_on_the_unit_of_flux(flux):
    np.testing.assert_allclose(plotting.rgb(flux * 1000), plotting.rgb(flux), atol=1)


@pytest.mark.parametrize('n_bands', [1, 2, 5])
def test_rgb_takes_any_number_of_bands(flux, n_bands):
    images = np.repeat(flux[:, :1], n_bands, axis=1)
    pictures = plotting.rgb(images)
    # All bands hold the same image, which is grey.
    np.testing.assert_array_equal(pictures[..., 0], pictures[..., 2])


def test_missing_pixels_are_black(flux):
    flux[0, :, :6] = np.nan
    assert plotting.rgb(flux)[0, :6].max() == 0


def test_missing_band_leaves_the_others(flux):
    flux[:, 0] = np.nan
    picture = plotting.rgb(flux)[0]
    assert picture[..., 2].max() == 0
    assert picture[11:13, 11:13, 0].min() > 100


@pytest.mark.parametrize('value', [np.nan, 0.0, 3.0])
def test_images_without_noise_are_drawn(value):
    assert plotting.rgb(np.full((2, 3, 8, 8), value)).shape == (2, 8, 8, 3)


def test_sheet_has_a_panel_a_cutout_with_its_title():
    blobs = make_blobs(5)
    figure = plotting.cutouts(blobs, titles=blobs.table['morphology'], n_columns=2)
    assert [axes.get_title() for axes in figure.axes] == blobs.table['morphology'].tolist()
    assert {axes.get_subplotspec().get_geometry()[:2] for axes in figure.axes} == {(3, 2)}


def test_cutout_without_image_is_titled_by_its_status():
    blobs = make_blobs(2).replace(status=['ok', 'truncated'])
    assert [axes.get_title() for axes in plotting.cutouts(blobs).axes] == ['', 'truncated']


def test_wrong_ones_have_red_titles():
    figure = plotting.cutouts(make_blobs(2), titles=['E', 'S'], is_right=[True, False])
    assert [axes.title.get_color() for axes in figure.axes] == ['black', 'red']


def test_flux_has_its_first_row_at_the_bottom_and_pictures_at_the_top():
    pixels = np.zeros((1, 3, 8, 8))
    flux, picture = (CutoutSet(pixels, kind=kind) for kind in ('flux', 'picture'))
    assert [plotting.cutouts(c).axes[0].images[0].origin for c in (flux, picture)] == [
        'lower',
        'upper',
    ]


@pytest.mark.parametrize(('n_bands', 'shown'), [(1, [7, 7, 7]), (3, [7, 8, 9])])
def test_pictures_are_shown_as_they_are(n_bands, shown):
    pixels = np.broadcast_to(np.arange(7, 7 + n_bands)[:, None, None], (1, n_bands, 8, 8))
    sheet = plotting.cutouts(CutoutSet(pixels, kind='picture'))
    np.testing.assert_array_equal(pictures_of(sheet)[0], np.full((8, 8, 3), shown))


def test_sheet_is_written_as_a_file(tmp_path):
    plotting.cutouts(make_blobs(3)).savefig(tmp_path / 'sheet.png')
    assert (tmp_path / 'sheet.png').read_bytes().startswith(b'\x89PNG')


def test_no_cutouts_are_an_error():
    with pytest.raises(ValueError, match='cutouts is empty'):
        plotting.cutouts(make_blobs(2)[:0])
