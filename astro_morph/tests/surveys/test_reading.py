# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of surveys of one's own, in TOML files."""

import re

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astro_morph import conf, cutouts, surveys
from astro_morph.cli import main
from astro_morph.cutouts import CutoutSet, SiaImages, as_source
from astro_morph.learning.fitting import survey_of
from astro_morph.simulation import SimulatedSurvey, serve
from astro_morph.surveys import Circle, Patch

SHORTEST = {'service': "'SiaImages'", 'bands': "['g', 'r', 'i']", 'pixel_scale': '0.2'}

WHOLE = SHORTEST | {
    'name': "'kids'",
    'title': "'Kilo-Degree Survey'",
    'zero_point': '[0, 0.5, 1]',
    'psf_fwhm': '[0.9, 0.7, nan]',
    'depth': '[25.1, 24.9, 23.7]',
    'rgb': "['i', 'i', 'g']",
    'nonlinear': "['i']",
    'hips': "{g = 'CDS/P/KiDS/DR5/g'}",
    'hips_color': "'CDS/P/KiDS/DR5/color-gri'",
    'ids': "{sia = ['https://archive.example.org/sia', 'KiDS'], skyview = {g = 'KiDS g'}}",
    'coverage': '[{dec = [-5, 4], ra = [120, 240]}, {ra = 10, dec = -30, radius = 2.5}]',
    'access': "'token'",
    'acknowledgement': "'Based on observations made with ESO Telescopes.'",
    'reference': "'2024A&A...686A.170W'",
    'note': "'one night was cloudy'",
}


@pytest.fixture
def write(tmp_path):
    def write(entries, name='mine.toml'):
        path = tmp_path / name
        path.write_text('\n'.join(f'{key} = {value}' for key, value in entries.items()))
        return path

    return write


def test_three_lines_are_enough(write):
    survey = surveys.read(write(SHORTEST))
    assert (survey.name, survey.title, survey.service) == ('mine', 'mine', 'SiaImages')
    assert (survey.bands, survey.rgb) == (('g', 'r', 'i'), ('i', 'r', 'g'))
    assert survey.pixel_scale == 0.2 * u.arcsec
    assert survey.zero_point is survey.psf_fwhm is survey.sky_noise is survey.hips_color is None
    assert survey.nonlinear == survey.hips == survey.ids == {}
    assert survey.covers(SkyCoord(1, 2, unit='deg'))


@pytest.mark.parametrize(('bands', 'rgb'), [("['r']", 'rrr'), ("['g', 'r']", 'rrg')])
def test_picture_of_few_bands_repeats_them(write, bands, rgb):
    assert surveys.read(write(SHORTEST | {'bands': bands})).rgb == tuple(rgb)


def test_all_keys_are_read(write):
    survey = surveys.read(write(WHOLE))
    assert (survey.name, survey.title) == ('kids', 'Kilo-Degree Survey')
    np.testing.assert_array_equal(survey.zero_point, [0, 0.5, 1])
    np.testing.assert_array_equal(survey.psf_fwhm.to_value(u.arcsec), [0.9, 0.7, np.nan])
    np.testing.assert_allclose(survey.depth, [25.1, 24.9, np.nan])
    assert survey.rgb == ('i', 'i', 'g')
    assert survey.nonlinear == {'SiaImages': ('i',)}
    assert survey.hips == {'g': 'CDS/P/KiDS/DR5/g'}
    assert survey.hips_color == 'CDS/P/KiDS/DR5/color-gri'
    assert survey.ids == {
        'sia': ('https://archive.example.org/sia', 'KiDS'),
        'skyview': {'g': 'KiDS g'},
    }
    assert survey.coverage == (Patch((-5, 4), (120, 240)), Circle(10, -30, 2.5))
    texts = survey.access, survey.reference, survey.note
    assert texts == ('token', '2024A&A...686A.170W', 'one night was cloudy')
    assert survey.acknowledgement.startswith('Based on')


@pytest.mark.parametrize(
    ('given', 'ids'),
    [
        ("sia = ['https://a.org']", {'sia': ('https://a.org', None)}),
        ("wfau = ['VHSDR4', 'VHS']", {'wfau': ('VHSDR4', 'VHS')}),
        ("legacy = 'ls-dr10'", {'legacy': 'ls-dr10'}),
        ("dja = {g = 'f150w-clear'}", {'dja': {'g': 'f150w-clear'}}),
        ('archive = [3, true]', {'archive': [3, True]}),
    ],
)
def test_names_in_services_have_the_form_that_each_takes(write, given, ids):
    assert surveys.read(write(SHORTEST | {'ids': f'{{{given}}}'})).ids == ids


@pytest.mark.parametrize('unit', ['MJy / sr', 'electron/s/pix'])
def test_unit_takes_the_place_of_the_zero_point(write, unit):
    assert surveys.read(write(SHORTEST | {'unit': repr(unit)})).unit == unit


def test_what_editors_of_windows_write(write):
    path = write(SHORTEST)
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes().replace(b'\n', b'\r\n'))
    assert surveys.read(path).bands == ('g', 'r', 'i')


@pytest.mark.parametrize('read', [surveys.read, surveys.get])
def test_home_folder_may_be_a_tilde(write, monkeypatch, read):
    path = write(SHORTEST)
    monkeypatch.setenv('HOME', str(path.parent))
    monkeypatch.setenv('USERPROFILE', str(path.parent))
    assert read('~/mine.toml').name == 'mine'
    with pytest.raises(FileNotFoundError):
        read('~nobody_of_this_name/mine.toml')


@pytest.mark.parametrize(
    ('key', 'value', 'came', 'expected'),
    [
        ('service', '3', '3', 'the name of a class'),
        ('service', "''", "''", 'the name of a class'),
        ('bands', "'gri'", "'gri'", 'a list of different names'),
        ('bands', '[]', '[]', 'a list of different names'),
        ('bands', "['g', 'g']", "['g', 'g']", 'a list of different names'),
        ('bands', "['g', 3]", "['g', 3]", 'a list of different names'),
        ('bands', '[[1], [2]]', '[[1], [2]]', 'a list of different names'),
        ('pixel_scale', "'0.2 arcsec'", "'0.2 arcsec'", 'a number of arcsec above 0'),
        ('pixel_scale', '0', '0', 'a number of arcsec above 0'),
        ('pixel_scale', '-0.2', '-0.2', 'a number of arcsec above 0'),
        ('pixel_scale', 'nan', 'nan', 'a number of arcsec above 0'),
        ('pixel_scale', 'inf', 'inf', 'a number of arcsec above 0'),
        ('pixel_scale', 'true', 'True', 'a number of arcsec above 0'),
        ('name', "'SDSS-DR9'", "'SDSS-DR9'", 'not the name of another survey'),
        ('name', "'legacy'", "'legacy'", 'not the name of another survey'),
        ('name', "' '", "' '", 'not the name of another survey'),
        ('name', r'"a\nb"', r"'a\nb'", 'not the name of another survey'),
        ('bands', str(['b'] * 11), "'b', ...] (11 in all)", 'a list of different names'),
        ('title', '3', '3', 'a text'),
        ('zero_point', '[22.5, 22.5]', '[22.5, 22.5]', 'or a list with one a band'),
        ('zero_point', "'AB'", "'AB'", 'an AB magnitude'),
        ('zero_point', 'nan', 'nan', 'an AB magnitude'),
        ('zero_point', '1e5', '100000.0', 'an AB magnitude'),
        ('unit', "'furlong'", "'furlong'", 'a unit of astropy'),
        ('psf_fwhm', '0.9', '0.9', 'a number of arcsec above 0 a band'),
        ('psf_fwhm', '[0.9, 0.8]', '[0.9, 0.8]', 'a number of arcsec above 0 a band'),
        ('psf_fwhm', '[0.9, 0.8, 0]', '[0.9, 0.8, 0]', 'a number of arcsec above 0 a band'),
        ('depth', "['deep', 2, 3]", "['deep', 2, 3]", 'an AB magnitude a band'),
        ('depth', '[25, 24, inf]', '[25, 24, inf]', 'an AB magnitude a band'),
        ('depth', '[25, 24, -1e5]', '[25, 24, -100000.0]', 'an AB magnitude a band'),
        ('rgb', "['i', 'g']", "['i', 'g']", 'three of the bands'),
        ('rgb', "['z', 'r', 'g']", "['z', 'r', 'g']", 'three of the bands'),
        ('rgb', "'irg'", "'irg'", 'three of the bands'),
        ('nonlinear', "['y']", "['y']", 'some of the bands'),
        ('nonlinear', 'true', 'True', 'some of the bands'),
        ('hips', "'CDS/P/KiDS'", "'CDS/P/KiDS'", 'a table with the identifiers'),
        ('hips', "{y = 'CDS/P/KiDS'}", "{'y': 'CDS/P/KiDS'}", 'a table with the identifiers'),
        ('ids', "'sia'", "'sia'", 'a table, such as ids.sia'),
        ('ids.sia', "'https://a.org'", "'https://a.org'", 'the address of the service'),
        ('ids.sia', "['a', 'b', 'c']", "['a', 'b', 'c']", 'the address of the service'),
        ('ids.wfau', "['VHSDR4']", "['VHSDR4']", 'a list of two texts'),
        ('ids.mast', '3', '3', 'a text'),
        ('ids.skyview', "{y = 'VHS Y'}", "{'y': 'VHS Y'}", 'a table with the names of bands'),
        ('pixel_scale', '1' + '0' * 400, '1' + '0' * 400, 'a number of arcsec above 0'),
        ('coverage', '[{dec = [5, -5]}]', "[{'dec': [5, -5]}]", 'a list of tables'),
        ('coverage', '[{latitude = nan}]', "[{'latitude': nan}]", 'a list of tables'),
        ('coverage', '[{dec = [-91, 0]}]', "[{'dec': [-91, 0]}]", 'a list of tables'),
        (
            'coverage',
            '[{ra = 1, dec = 95, radius = 1}]',
            "[{'ra': 1, 'dec': 95, 'radius': 1}]",
            'a list of tables',
        ),
        (
            'coverage',
            '[{ra = 1, dec = 2, radius = 0}]',
            "[{'ra': 1, 'dec': 2, 'radius': 0}]",
            'a list of tables',
        ),
        ('coverage', '[]', '[]', 'a list of tables'),
        ('coverage', '{dec = [-5, 4]}', "{'dec': [-5, 4]}", 'a list of tables'),
        ('coverage', '[{dec = -5}]', "[{'dec': -5}]", 'a list of tables'),
        ('coverage', '[{dec = [-5]}]', "[{'dec': [-5]}]", 'a list of tables'),
        ('coverage', '[{moc = 3}]', "[{'moc': 3}]", 'a list of tables'),
        ('coverage', '[{ra = 1, radius = 2}]', "[{'ra': 1, 'radius': 2}]", 'a list of tables'),
        ('coverage', '[3]', '[3]', 'a list of tables'),
        ('note', '[3]', '[3]', 'a text'),
    ],
)
def test_message_names_the_key_what_came_and_what_was_expected(write, key, value, came, expected):
    came, expected = re.escape(came), re.escape(expected)
    wanted = rf'mine\.toml: {re.escape(key)} is .*{came}, expected .*{expected}'
    with pytest.raises(ValueError, match=wanted):
        surveys.read(write(SHORTEST | {key: value}))


@pytest.mark.parametrize(
    ('entries', 'message'),
    [
        ({}, r"mine\.toml: the keys \['service', 'bands', 'pixel_scale'\] are missing"),
        (WHOLE | {'bands_': '3'}, r"mine\.toml: \['bands_'\] are not among the keys \['service'"),
        (
            SHORTEST | {f'key{n}': '3' for n in range(11)},
            r"\['key0', .*'key9', ...\] \(11 in all\) are not among the keys",
        ),
        (SHORTEST | {'depth': '[1, 2, 3]'}, r'mine\.toml: depth needs psf_fwhm'),
        (SHORTEST | {'note': '[' * 9999 + ']' * 9999}, r'mine\.toml: not a TOML file .*mend it'),
        (SHORTEST | {'note': 'cloudy'}, r'mine\.toml: not a TOML file .*line 4.*mend it'),
    ],
    ids=['empty', 'unknown', 'many unknown', 'depth', 'deep', 'syntax'],
)
def test_other_faults_of_the_file_are_named(write, entries, message):
    with pytest.raises(ValueError, match=message):
        surveys.read(write(entries))


@pytest.mark.parametrize('content', [b'\x89PNG', "title = 'Étoile'".encode('latin-1')])
def test_bytes_that_are_no_text_are_refused(tmp_path, content):
    (tmp_path / 'mine.toml').write_bytes(content)
    with pytest.raises(ValueError, match=r'mine\.toml: not a TOML file'):
        surveys.read(tmp_path / 'mine.toml')


@pytest.mark.parametrize('read', [surveys.read, surveys.get])
def test_missing_file_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r'there is no file .*none\.toml.*check its name'):
        read(tmp_path / 'none.toml')


@pytest.mark.parametrize('kind', [str, lambda path: path])
def test_path_is_the_name_of_a_survey(write, kind):
    path = kind(write(SHORTEST | {'ids': "{sia = ['http://127.0.0.1/SIA', 'x']}"}, 'Mine.TOML'))
    assert surveys.is_known(path)
    assert surveys.get(path).name == 'Mine'
    source = as_source(path, Table({'ra': [1.0], 'dec': [2.0]}), bands='gr')
    assert isinstance(source, SiaImages)
    assert source.bands == ('g', 'r')
    assert survey_of(path).name == survey_of(source).name == 'Mine'


def test_service_that_there_is_not_is_refused_with_those_there_are(write):
    path = write(SHORTEST | {'service': "'Nothing'"})
    expected = r"service of the survey 'mine' is 'Nothing', expected one of \['.*'Hips2Fits'"
    with pytest.raises(ValueError, match=expected):
        as_source(path, Table({'ra': [1.0], 'dec': [2.0]}))
    # A class that is no service is none either.
    path = write(SHORTEST | {'service': "'CutoutSet'"})
    with pytest.raises(ValueError, match="is 'CutoutSet', expected one of"):
        as_source(path, Table({'ra': [1.0], 'dec': [2.0]}))
    assert cutouts.CutoutSet


def test_service_says_which_name_of_the_survey_it_lacks(write):
    path = write(SHORTEST)
    expected = r"survey 'mine' has no 'sia' in its ids.*: ids\.sia in a TOML file"
    with pytest.raises(ValueError, match=expected):
        as_source(path, Table({'ra': [1.0], 'dec': [2.0]}))
    with pytest.raises(ValueError, match='nor of other bands; set its hips, or choose another'):
        cutouts.Hips2Fits(path)


def test_images_of_a_survey_of_ones_own_are_fetched(write, tmp_path):
    sky = SimulatedSurvey('sdss', n_galaxies=3)
    catalog = sky.catalogue['ra', 'dec']
    catalog.write(tmp_path / 'catalogue.fits')
    with serve(sky) as server, conf.set_temp('cache_file', str(tmp_path / 'cache.sqlite')):
        path = write(
            SHORTEST
            | {
                'pixel_scale': '0.396',
                'zero_point': '22.5',
                'ids': f"{{sia = ['{server.url}/SIA', 'simulated']}}",
            }
        )
        output = tmp_path / 'cutouts.h5'
        code = main(
            [
                *('fetch', str(tmp_path / 'catalogue.fits'), '--survey', str(path)),
                *('--size', '32', '--bands', 'g,r', '--output', str(output), '--quiet'),
            ]
        )
        with conf.set_temp('survey', str(path)):
            configured = as_source('auto', catalog, bands='gr').fetch(catalog, size=32)
    fetched, truth = CutoutSet.read(output), sky.fetch(catalog, size=32)
    assert code == 0
    assert fetched.bands == ('g', 'r')
    assert fetched.zero_point.tolist() == [22.5, 22.5]
    indices = [truth.bands.index(band) for band in 'gr']
    flux = [images.sum(axis=(2, 3)) for images in (fetched.images, truth.images[:, indices])]
    np.testing.assert_allclose(*flux, rtol=0.05)
    np.testing.assert_array_equal(configured.images, fetched.images)


def test_command_fetches_variance_and_mask_of_a_survey_of_ones_own(write, tmp_path):
    sky = SimulatedSurvey('sdss', n_galaxies=3)
    sky.catalogue['ra', 'dec'].write(tmp_path / 'catalogue.fits')
    with serve(sky) as server, conf.set_temp('cache_file', str(tmp_path / 'cache.sqlite')):
        path = write(
            {
                'service': "'EuclidMosaics'",
                'bands': "['VIS', 'Y']",
                'pixel_scale': '0.396',
                'zero_point': '[24.0, 25.0]',
                'ids': f"{{sia = ['{server.url}/euclid/SIA', 'euclid_DpdMerBksMosaic']}}",
            }
        )
        for options in ([], ['--planes']):
            output = tmp_path / f'cutouts{len(options)}.h5'
            command = ['fetch', str(tmp_path / 'catalogue.fits'), '--survey', str(path), '--quiet']
            assert main([*command, *options, '--size', '24', '--output', str(output)]) == 0
            cutouts = CutoutSet.read(output)
            assert cutouts.is_ok.all()
            assert cutouts.zero_point.tolist() == [24.0, 25.0]
            assert (cutouts.variance is not None) == bool(options)
            assert (cutouts.mask is not None) == bool(options)


def test_command_names_the_key(write, capsys, tmp_path):
    Table({'ra': [1.0], 'dec': [2.0]}).write(tmp_path / 'catalogue.fits')
    path = write(SHORTEST | {'pixel_scale': "'big'"})
    code = main(['fetch', str(tmp_path / 'catalogue.fits'), '--survey', str(path), '--plan'])
    assert code == 1
    assert "pixel_scale is 'big', expected a number of arcsec above 0" in capsys.readouterr().err
