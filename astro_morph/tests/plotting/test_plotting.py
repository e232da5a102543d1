# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pictures of cutouts: colours, titles, orientation, and cutouts with nothing in them."""

import numpy as np
import pytest

from astro_morph import CutoutSet, MorphologyEncoder, plotting
from astro_morph.photometry import Preprocessor
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


@pytest.mark.parametrize('kind', ['flux', 'picture'])
def test_first_row_is_shown_at_the_bottom(kind):
    pixels = np.random.default_rng(0).uniform(0, 1, (1, 3, 8, 8))
    pixels[:, :, 0] = 200
    panel = plotting.cutouts(CutoutSet(pixels, kind=kind)).axes[0].images[0]
    assert panel.origin == 'upper'
    assert panel.get_array()[-1].min() > panel.get_array()[:-1].max()


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


@pytest.mark.usefixtures('enlarged')
def test_augmentations_have_a_row_a_cutout_that_begins_with_it():
    blobs = make_blobs(3, bands='gri')
    sheet = plotting.augmentations(blobs, n_views=2)
    plain, first, second = (pictures_of(sheet)[3 * i : 3 * i + 3] for i in range(3))
    assert {axes.get_subplotspec().get_geometry()[:2] for axes in sheet.axes} == {(3, 3)}
    for row, cutout in enumerate(plain):
        # Bright where the cutout is, and the views are other pictures.
        assert (
            np.corrcoef(cutout[::-1].mean(axis=2).ravel(), blobs.images[row].mean(axis=0).ravel())[
                0, 1
            ]
            > 0.9
        )
        assert first[row].shape == (36, 36, 3)
        assert not np.array_equal(first[row], second[row])


def test_augmentations_repeat_and_those_of_pretraining_are_stronger():
    blobs = make_blobs(4, bands='gri')

    def brightness(**options):
        pictures = pictures_of(plotting.augmentations(blobs, n_views=2, **options))
        return [picture.mean() for picture in pictures[4:]]

    views = brightness()
    assert brightness() == views
    assert np.std(brightness(contrast=True)) > 1.5 * np.std(views)


def test_augmentations_of_pictures_are_in_their_colours():
    red = np.zeros((2, 3, 20, 20))
    red[:, 0] = 120 * gaussian(20, sigma=4)
    blobs = CutoutSet(red, bands=['red', 'green', 'blue'], kind='picture')
    for picture in pictures_of(plotting.augmentations(blobs, n_views=1)):
        assert picture[..., 0].mean() > 5 * picture[..., 1:].mean()


def test_augmentations_of_nothing_are_an_error():
    with pytest.raises(ValueError, match='no row with an image'):
        plotting.augmentations(make_blobs(2).replace(status=['truncated'] * 2))


class TestHistory:
    HISTORY = [
        {'epoch': 1, 'loss': 3.0, 'accuracy': 0.1, 'learning_rate': 0.1, 'neighbor_accuracy': 0.5},
        {'epoch': 2, 'loss': 2.0, 'accuracy': 0.3, 'learning_rate': 0.2},
        {'epoch': 3, 'loss': 1.5, 'accuracy': 0.4, 'learning_rate': 0.1, 'neighbor_accuracy': 0.8},
    ]

    def test_has_a_curve_for_each_thing_that_was_recorded(self):
        figure = plotting.history(self.HISTORY)
        curves = {axes.get_title(): axes.lines[0].get_xydata().tolist() for axes in figure.axes}
        assert curves == {
            'loss': [[1, 3.0], [2, 2.0], [3, 1.5]],
            'accuracy on views': [[1, 0.1], [2, 0.3], [3, 0.4]],
            'neighbours of the same class': [[1, 0.5], [3, 0.8]],
            'learning rate': [[1, 0.1], [2, 0.2], [3, 0.1]],
        }

    def test_single_epoch_is_a_point(self):
        figure = plotting.history(self.HISTORY[:1])
        assert {axes.lines[0].get_marker() for axes in figure.axes} == {'o'}

    def test_odd_number_of_curves_leaves_no_empty_panel(self):
        figure = plotting.history([{'epoch': 1, 'loss': 1.0}])
        assert [axes.get_title() for axes in figure.axes] == ['loss']

    def test_of_nothing_is_an_error(self):
        with pytest.raises(ValueError, match='nothing was trained'):
            plotting.history([])


class TestPreprocessing:
    @pytest.fixture
    def cutouts(self):
        images = np.random.default_rng(0).normal(size=(2, 3, 48, 48))
        images += 40 * gaussian(48, sigma=2.5) + 5
        images[1] += 40 * gaussian(48, x=16, y=14)
        return CutoutSet(images, bands='gri')

    def test_before_found_and_after_stand_below_each_other(self, cutouts):
        sheet = plotting.preprocessing(cutouts)
        assert {axes.get_subplotspec().get_geometry()[:2] for axes in sheet.axes} == {(3, 2)}
        panels = np.reshape(sheet.axes, (2, 3)).T
        before, found, after = ([a.images[0].get_array() for a in row] for row in panels)
        np.testing.assert_array_equal(found[1][23, [2, 24, 40]], [0, 1, 0])
        # The highest row is drawn first: the companion lies 14 pixels above the centre.
        np.testing.assert_array_equal(found[1][9, 40], 2)
        assert int(before[1][9, 40].max()) > int(after[1][9, 40].max()) + 50
        assert [axes.get_title() for axes in panels[2]] == ['', 'neighbour_removed']

    def test_settings_are_used(self, cutouts):
        sheet = plotting.preprocessing(cutouts, Preprocessor(neighbours=None))
        assert sheet.axes[5].get_title() == ''
        after = sheet.axes[5].images[0].get_array()
        assert after[9, 40].max() > 60

    def test_cutout_without_image(self, cutouts):
        sheet = plotting.preprocessing(cutouts.replace(status=['ok', 'truncated']))
        assert [sheet.axes[i].get_title() for i in (0, 3)] == ['', 'truncated']

    def test_pictures_and_nothing_are_an_error(self, cutouts):
        for wrong in (cutouts[:0], cutouts.replace(kind='picture')):
            with pytest.raises(ValueError, match='expected at least one cutout in flux'):
                plotting.preprocessing(wrong)


class TestReconstructions:
    @pytest.mark.usefixtures('enlarged')
    @pytest.mark.parametrize('bands', ['g', 'gri'])
    def test_show_each_cutout_and_what_is_drawn_of_it(self, bands):
        blobs = make_blobs(6, bands=bands)
        blobs.status[1] = 'truncated'
        encoder = MorphologyEncoder(method='autoencoder', epochs=1, device='cpu', verbose=0).fit(
            blobs
        )
        pictures = pictures_of(plotting.reconstructions(encoder, blobs))
        # Five cutouts have an image; small ones are enlarged by half.
        assert [picture.shape for picture in pictures] == [(36, 36, 3)] * 10
        assert all(np.ptp(picture) > 0 for picture in pictures[:5])

    def test_without_a_decoder_are_refused(self, encoder, blobs):
        with pytest.raises(ValueError, match="method='autoencoder'"):
            plotting.reconstructions(encoder, blobs)


class TestNeighbors:
    def test_draws_each_galaxy_before_those_like_it(self, blobs):
        rows = np.array([[1, 2], [-1, -1], [0, 1], [4, 5]] + [[0, 1]] * 20)
        figure = plotting.neighbors(blobs, rows, of=[0, 3])
        shown = [str(axes.get_title()) for axes in figure.axes]
        assert shown == ['row 0', '1', '2', 'row 3', '4', '5']
        whole = pictures_of(plotting.cutouts(blobs[[0, 1, 2, 3, 4, 5]]))
        for picture, expected in zip(pictures_of(figure), whole, strict=True):
            np.testing.assert_array_equal(picture, expected)

    def test_leaves_out_those_without_an_image_or_refuses_them(self, blobs):
        rows = np.array([[-1, -1], [2, 3], [1, 3]] + [[-1, -1]] * 21)
        titles = [axes.get_title() for axes in plotting.neighbors(blobs, rows).axes]
        assert titles[::3] == ['row 1', 'row 2']
        with pytest.raises(ValueError, match=r'of has the rows \[0\] without neighbours'):
            plotting.neighbors(blobs, rows, of=[0])


def test_names_of_classes_are_no_formulas(tmp_path):
    from astro_morph.evaluation import Evaluation

    classes = ['$\\x$', '$_$']
    evaluation = Evaluation(classes, classes * 3, [[0.9, 0.1], [0.4, 0.6]] * 3)
    features = np.random.default_rng(0).normal(size=(6, 3))
    figures = [
        plotting.confusion(evaluation),
        plotting.roc(evaluation),
        plotting.feature_map(features, np.array(classes * 3)),
    ]
    for figure in figures:
        figure.savefig(tmp_path / 'figure.png')
