# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A thousand rows with fifty bad ones of every kind: these get a status, all others a class."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.wcs import WCS
from PIL import Image

from astro_morph import MorphologyClassifier
from astro_morph.catalog.flags import BITS
from astro_morph.cutouts import FirstOf, ImageFiles, Mosaics
from astro_morph.tests.helpers import make_blobs

N_ROWS = 1000
N_BAD = 50
SIZE = 21
BLOBS = make_blobs(16, size=SIZE, random_state=1)
OTHER_COLUMNS = ('id', 'name', 'redshift')
COVERAGE = BITS['partial_coverage'] | BITS['missing_pixels'] | BITS['missing_band']

# Of each grid cell of the mosaic the middle holds a blob.
SPACING = 30


@pytest.fixture(scope='module')
def classifier():
    classifier = MorphologyClassifier(
        encoder='random', strategy='linear', random_state=0, device='cpu', verbose=0
    )
    classifier.fit(make_blobs(24, size=SIZE)).model_.network.views = 1
    return classifier


@pytest.fixture(scope='module')
def layout():
    """The blob of each row, and the numbers of the bad rows."""
    random = np.random.default_rng(0)
    blob = random.integers(len(BLOBS), size=N_ROWS)
    bad_rows = random.choice(N_ROWS, N_BAD, replace=False)
    return blob, bad_rows


def make_catalogue(**columns):
    random = np.random.default_rng(2)
    redshift = MaskedColumn(random.random(N_ROWS), mask=random.random(N_ROWS) < 0.1)
    name = [f'galaxy {row}' for row in range(N_ROWS)]
    identifier = random.permutation(N_ROWS)
    return {'id': identifier, 'name': name, 'redshift': redshift, **columns}


def check(annotated, table, classifier, blob, expected):
    """Check rows, other columns and status, and that each class is that of the row's blob."""
    assert type(annotated) is type(table)
    assert annotated.colnames[: len(table.colnames)] == table.colnames
    for name in OTHER_COLUMNS:
        np.testing.assert_array_equal(annotated[name], table[name])
    np.testing.assert_array_equal(annotated['redshift'].mask, table['redshift'].mask)

    assert annotated['morph_status'].tolist() == expected.tolist()
    is_bad = expected != 'ok'
    assert is_bad.sum() == N_BAD
    for name in ('morph_class', 'morph_p_round', 'morph_confidence', 'morph_entropy'):
        np.testing.assert_array_equal(annotated[name].mask, is_bad)
    # Nothing is missing in the images that there are, and nothing was looked for in the others.
    assert not (annotated['morph_flags'] & COVERAGE).any()
    assert not annotated['morph_flags'][is_bad].any()

    probability = classifier.predict_proba(BLOBS)[blob[~is_bad]]
    for index, label in enumerate(classifier.classes_):
        np.testing.assert_allclose(
            annotated[f'morph_p_{label}'][~is_bad], probability[:, index], atol=1e-4
        )


def write_bad_files(folder):
    """Write a file for each kind of fault; return their paths and statuses."""
    whole = np.ones((2, SIZE, SIZE), np.float32)
    fits.writeto(folder / 'nan.fits', np.full_like(whole, np.nan))
    fits.writeto(folder / 'large.fits', np.ones((2, 40, 40)))
    fits.writeto(folder / 'one-band.fits', whole[:1])
    table = fits.BinTableHDU(Table({'x': [1.0]}))
    table.writeto(folder / 'table.fits')
    fits.writeto(folder / 'whole.fits', whole)
    cut_off = (folder / 'whole.fits').read_bytes()[:4000]
    (folder / 'cut-off.fits').write_bytes(cut_off)
    noise = np.random.default_rng(0).integers(255, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / 'whole.jpg')
    (folder / 'cut-off.jpg').write_bytes((folder / 'whole.jpg').read_bytes()[:1500])
    (folder / 'empty.fits').write_bytes(b'')
    (folder / 'text.fits').write_text('not a FITS file\n')
    (folder / 'folder.fits').mkdir()
    (folder / 'loop.fits').symlink_to(folder / 'loop.fits')
    return [
        ('', 'no_path'),
        ('  ', 'no_path'),
        ('masked', 'no_path'),
        ('nowhere.fits', 'not_found'),
        ('no/such/folder.fits', 'not_found'),
        ('folder.fits', 'unreadable'),
        ('loop.fits', 'unreadable'),
        ('cut-off.fits', 'truncated'),
        ('cut-off.jpg', 'truncated'),
        ('empty.fits', 'truncated'),
        ('text.fits', 'not_an_image'),
        ('table.fits', 'not_an_image'),
        ('nan.fits', 'all_nan'),
        ('large.fits', 'wrong_size'),
        ('one-band.fits', 'wrong_bands'),
        ('whole.jpg', 'wrong_bands'),
    ]


def test_bad_image_files(classifier, layout, tmp_path):
    blob, bad_rows = layout
    for number, image in enumerate(BLOBS.images):
        fits.writeto(tmp_path / f'{number}.fits', image)
    paths = np.array([f'{number}.fits' for number in blob], 'U40')
    expected = np.full(N_ROWS, 'ok', 'U20')
    paths[bad_rows], expected[bad_rows] = np.resize(write_bad_files(tmp_path), (N_BAD, 2)).T

    table = Table(make_catalogue(file_loc=MaskedColumn(paths, mask=paths == 'masked')))
    before = table.copy()
    classifier.source = ImageFiles(folder=tmp_path, bands='gr')
    annotated = classifier.annotate(table)
    check(annotated, table, classifier, blob, expected)
    assert annotated['file_loc'].filled('').tolist() == before['file_loc'].filled('').tolist()
    assert table.colnames == before.colnames


def write_mosaics(folder):
    """Write an image a band, of all blobs in a row and a square without pixels; return the WCS."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval = 150, 2
    wcs.wcs.crpix = 1, 1
    wcs.wcs.cdelt = -0.4 / 3600, 0.4 / 3600
    width = (len(BLOBS) + 2) * SPACING
    mosaic = np.zeros((2, SPACING, width), np.float32)
    mosaic[:, :, -2 * SPACING :] = np.nan
    margin = (SPACING - SIZE) // 2
    for number, image in enumerate(BLOBS.images):
        x = number * SPACING + margin
        mosaic[:, margin : margin + SIZE, x : x + SIZE] = image
    for band, image in zip('gr', mosaic, strict=True):
        fits.writeto(folder / f'{band}.fits', image, wcs.to_header())
    return wcs


def write_sky(folder, blob):
    """Write the mosaics; return the position of each blob, and bad ones with their status."""
    wcs = write_mosaics(folder)
    middle = (SPACING - SIZE) // 2 + SIZE // 2
    sky = wcs.pixel_to_world(blob * SPACING + middle, np.full(N_ROWS, middle))
    nowhere = wcs.pixel_to_world((len(BLOBS) + 1) * SPACING, middle)
    ways = [
        (np.nan, 2, 'no_coordinates'),
        (150, np.nan, 'no_coordinates'),
        (150, 90.5, 'invalid_coordinates'),
        (-999, -999, 'invalid_coordinates'),
        (150, np.inf, 'invalid_coordinates'),
        (150.1, 2, 'no_coverage'),
        (330, -2, 'no_coverage'),
        (nowhere.ra.deg, nowhere.dec.deg, 'all_nan'),
    ]
    return sky, ways


def test_bad_positions(classifier, layout, tmp_path):
    blob, bad_rows = layout
    sky, ways = write_sky(tmp_path, blob)
    ra, dec = sky.ra.deg, sky.dec.deg
    expected = np.full(N_ROWS, 'ok', 'U20')
    for row, way in zip(bad_rows, np.resize(np.array(ways, object), (N_BAD, 3)), strict=True):
        ra[row], dec[row], expected[row] = way
    # One of the rows without a number has a mask in its stead.
    is_masked = np.isnan(ra) & (np.arange(N_ROWS) == np.flatnonzero(np.isnan(ra))[0])
    ra[is_masked] = 150

    table = Table(make_catalogue(ra=MaskedColumn(ra, mask=is_masked), dec=dec))
    classifier.source = Mosaics(tmp_path / '{band}.fits')
    annotated = classifier.annotate(table)
    check(annotated, table, classifier, blob, expected)
    np.testing.assert_array_equal(annotated['ra'].mask, is_masked)
    np.testing.assert_array_equal(annotated['dec'], dec)


def test_bad_files_and_positions_in_one_catalogue(classifier, layout, tmp_path):
    """Rows with a path, rows with a position, and rows that are bad in either way, in one call."""
    blob, bad_rows = layout
    (tmp_path / 'files').mkdir()
    (tmp_path / 'tiles').mkdir()
    for number, image in enumerate(BLOBS.images):
        fits.writeto(tmp_path / 'files' / f'{number}.fits', image)
    sky, bad_positions = write_sky(tmp_path / 'tiles', blob)
    bad_paths = [way for way in write_bad_files(tmp_path / 'files') if way[1] != 'no_path']

    has_path = np.arange(N_ROWS) % 2 == 0
    paths = np.where(has_path, np.array([f'{number}.fits' for number in blob], 'U40'), '')
    ra, dec = (np.where(has_path, np.nan, angle.deg) for angle in (sky.ra, sky.dec))
    expected = np.full(N_ROWS, 'ok', 'U20')
    for count, row in enumerate(bad_rows):
        if has_path[row]:
            paths[row], expected[row] = bad_paths[count % len(bad_paths)]
        else:
            ra[row], dec[row], expected[row] = bad_positions[count % len(bad_positions)]

    table = Table(
        make_catalogue(
            image=paths,
            ra=MaskedColumn(ra, mask=np.isnan(ra)),
            dec=MaskedColumn(dec, mask=np.isnan(dec)),
        )
    )
    files = ImageFiles(folder=tmp_path / 'files', bands='gr')
    classifier.source = FirstOf(files, Mosaics(tmp_path / 'tiles' / '{band}.fits'))
    check(classifier.annotate(table), table, classifier, blob, expected)
