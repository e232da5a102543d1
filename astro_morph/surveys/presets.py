# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The data of each named survey, with the sources of the numbers; add a survey here."""

from dataclasses import replace

import astropy.units as u
import numpy as np

from astro_morph.surveys.depth import flux_of, noise_of_depth
from astro_morph.surveys.survey import Circle, Patch, Survey

__all__ = ['ALIASES', 'SURVEYS']


def _noise_in_aperture(depth, signal_to_noise, radius, pixel_scale):
    """Return the noise of a pixel in nanomaggies from the depth in a circular aperture."""
    n_pixels = np.pi * (radius / pixel_scale).to_value(u.one) ** 2
    return flux_of(depth) / signal_to_noise / np.sqrt(n_pixels)


def _each(pattern, bands):
    """Return the identifier of each band from a pattern."""
    return {band: pattern.format(band) for band in bands}


# Point sources: design depths in g, r, z (Dey et al. 2019, AJ 157, 168), and their median seeing
# for DECaLS. The values of the i band, added in Data Release 10, are half-way between r and z.
# Coverage: |b| > 18 and dec < 84 deg (https://www.legacysurvey.org/dr8/description), with the south
# added by Data Release 10; 0.67 of the sky, like the HiPS of colour pictures.
_LEGACY_FWHM = [1.29, 1.18, 1.15, 1.11] * u.arcsec

_LEGACY = Survey(
    name='legacy-dr10',
    title='DESI Legacy Imaging Surveys, Data Release 10',
    bands=('g', 'r', 'i', 'z'),
    pixel_scale=0.262 * u.arcsec,
    psf_fwhm=_LEGACY_FWHM,
    sky_noise=noise_of_depth([24.0, 23.4, 23.0, 22.5], _LEGACY_FWHM, 0.262 * u.arcsec),
    rgb=('z', 'r', 'g'),
    zero_point=22.5,
    hips=_each('CDS/P/DESI-Legacy-Surveys/DR10/{}', 'griz'),
    hips_color='CDS/P/DESI-Legacy-Surveys/DR10/color',
    ids={'legacy': 'ls-dr10'},
    coverage=(Patch((-90, 34), latitude=18), Patch((32, 84), ra=(90, 300), latitude=18)),
    acknowledgement=(
        'The Legacy Surveys consist of three individual and complementary projects: the Dark '
        'Energy Camera Legacy Survey (DECaLS; Proposal ID #2014B-0404; PIs: David Schlegel and '
        'Arjun Dey), the Beijing-Arizona Sky Survey (BASS; NOAO Prop. ID #2015A-0801; PIs: Zhou Xu '
        'and Xiaohui Fan), and the Mayall z-band Legacy Survey (MzLS; Prop. ID #2016A-0453; PI: '
        'Arjun Dey). Full text: https://www.legacysurvey.org/acknowledgment/'
    ),
    reference='2019AJ....157..168D',
    note='most of the north has no i band',
)

_LEGACY_DR9 = replace(
    _LEGACY,
    name='legacy-dr9',
    title='DESI Legacy Imaging Surveys, Data Release 9',
    bands=('g', 'r', 'z'),
    psf_fwhm=_LEGACY.psf_fwhm[[0, 1, 3]],
    sky_noise=_LEGACY.sky_noise[[0, 1, 3]],
    service='LegacyCutouts',
    hips={},
    hips_color=None,
    ids={'legacy': 'ls-dr9'},
    # Without the south that Data Release 10 added: about 20,000 square degrees.
    coverage=(
        Patch((-10, 34), ra=(105, 285), latitude=18),
        Patch((-18, 34), ra=(300, 65), latitude=18),
        Patch((32, 84), ra=(90, 300), latitude=18),
        Patch((-67, -18), ra=(300, 100), latitude=20),
    ),
    note='',
)

# Mean depths of point sources in the 3 pi stacks, and median seeing (Chambers et al. 2016,
# arXiv:1612.05560). Comparisons of the HiPS with magnitudes of stars by others: g is linear, with a
# zero point that depends on the exposure time; r and i have an asinh stretch.
_PANSTARRS_FWHM = [1.31, 1.19, 1.11, 1.07, 1.02] * u.arcsec

_PANSTARRS = Survey(
    name='panstarrs-dr1',
    title='Pan-STARRS1 3 pi Survey, Data Release 1',
    bands=('g', 'r', 'i', 'z', 'y'),
    pixel_scale=0.25 * u.arcsec,
    psf_fwhm=_PANSTARRS_FWHM,
    sky_noise=noise_of_depth([23.3, 23.2, 23.1, 22.3, 21.4], _PANSTARRS_FWHM, 0.25 * u.arcsec),
    rgb=('i', 'r', 'g'),
    zero_point=22.5,
    nonlinear={'Hips2Fits': ('r', 'i', 'z', 'y')},
    service='PanStarrsCutouts',
    hips=_each('CDS/P/PanSTARRS/DR1/{}', 'grizy'),
    hips_color='CDS/P/PanSTARRS/DR1/color-i-r-g',
    ids={'panstarrs': 'stack'},
    coverage=(Patch((-30, 90)),),
    acknowledgement=(
        'The Pan-STARRS1 Surveys (PS1) and the PS1 public science archive have been made possible '
        'through contributions by the Institute for Astronomy, the University of Hawaii, the '
        'Pan-STARRS Project Office, the Max-Planck Society and its participating institutes. '
        'Full text: https://panstarrs.stsci.edu/'
    ),
    reference='2016arXiv161205560C',
    note='the HiPS of r, i, z and y hold flux in an asinh stretch',
)

# Noise: standard deviation of the sky-subtracted field 2820-3-122, sources clipped. Seeing: the
# medians of the imaging (Alam et al. 2015, ApJS 219, 12).
_SDSS = Survey(
    name='sdss-dr9',
    title='Sloan Digital Sky Survey, Data Release 9',
    bands=('u', 'g', 'r', 'i', 'z'),
    pixel_scale=0.396 * u.arcsec,
    psf_fwhm=[1.53, 1.44, 1.32, 1.26, 1.29] * u.arcsec,
    sky_noise=np.array([0.042, 0.016, 0.026, 0.040, 0.163]),
    rgb=('i', 'r', 'g'),
    zero_point=22.5,
    hips=_each('CDS/P/SDSS9/{}', 'ugriz'),
    hips_color='CDS/P/SDSS9/color',
    ids={'skyview': _each('SDSS{}', 'ugriz')},
    coverage=(
        Patch((-4, 70), ra=(110, 260), latitude=20),
        Patch((-11, 36), ra=(310, 60), latitude=20),
    ),
    acknowledgement=(
        'Funding for SDSS-III has been provided by the Alfred P. Sloan Foundation, the '
        'Participating Institutions, the National Science Foundation, and the U.S. Department of '
        'Energy Office of Science. The SDSS-III web site is http://www.sdss3.org/. Full text: '
        'https://www.sdss3.org/collaboration/boiler-plate.php'
    ),
    reference='2012ApJS..203...21A',
)

# Mosaics of the pipeline MER: pixels of 0.1 arcsec, and areas of the three Deep Fields, 22.9, 12.1
# and 28.1 square degrees (tutorials of IRSA, https://caltech-ipac.github.io/irsa-tutorials); each
# field is a circle of that area, which is approximate most of all for the elongated South. Zero
# points, rounded, and widths in pixels: the defaults of azulero 2.1 (https://pypi.org/project/
# azulero); each mosaic has its own zero point in MAGZERO, to which its images are scaled. Depths:
# 5 sigma for point sources in the Wide Survey, to which Q1 was observed (Scaramella et al. 2022,
# A&A 662, A112). The noise of neighbouring pixels is correlated in NISP, whose own have 0.3 arcsec.
_EUCLID_FWHM = [0.16, 0.35, 0.34, 0.35] * u.arcsec

_EUCLID = Survey(
    name='euclid-q1',
    title='Euclid Quick Data Release 1',
    bands=('VIS', 'Y', 'J', 'H'),
    pixel_scale=0.1 * u.arcsec,
    psf_fwhm=_EUCLID_FWHM,
    sky_noise=noise_of_depth([26.2, 24.5, 24.5, 24.5], _EUCLID_FWHM, 0.1 * u.arcsec),
    rgb=('H', 'Y', 'VIS'),
    zero_point=np.array([24.5, 29.8, 30.1, 30.0]),
    service='EuclidMosaics',
    ids={
        'sia': ('https://irsa.ipac.caltech.edu/SIA', 'euclid_DpdMerBksMosaic'),
        'esa': ('PDR', 'DpdMerBksMosaic'),
    },
    coverage=(
        Circle(269.7329, 66.0177, 2.70),
        Circle(52.9317, -28.0885, 1.96),
        Circle(61.2410, -48.4230, 2.99),
    ),
    acknowledgement=(
        'This work has made use of the Euclid Quick Release Q1 data from the Euclid mission of the '
        'European Space Agency (ESA), 2025, https://doi.org/10.57780/esa-2853f3b'
    ),
    reference='2025arXiv250315302E',
    note='zero points are rounded; those of the headers decide',
)

# Coadds are in nJy, and have pixels of 0.2 arcsec. Median seeing of all fields, 5 sigma depths of
# point sources in the deepest, the Extended Chandra Deep Field South, up to 2.2 mag shallower in
# the others, and the centres of the fields: tables of RTN-095, https://github.com/lsst/rtn-095.
# Coverage: seven about equal circles of 15 square degrees together (the same paper).
_RUBIN_FWHM = [1.48, 1.17, 1.12, 1.03, 1.11, 1.01] * u.arcsec

_RUBIN_DEPTH = [24.55, 26.18, 25.96, 25.71, 25.07, 23.10]

_RUBIN = Survey(
    name='rubin-dp1',
    title='Vera C. Rubin Observatory, Data Preview 1',
    bands=('u', 'g', 'r', 'i', 'z', 'y'),
    pixel_scale=0.2 * u.arcsec,
    psf_fwhm=_RUBIN_FWHM,
    sky_noise=noise_of_depth(_RUBIN_DEPTH, _RUBIN_FWHM, 0.2 * u.arcsec),
    rgb=('i', 'r', 'g'),
    unit='nJy',
    service='RubinCutouts',
    ids={'rubin': ('https://data.lsst.cloud/api/sia/dp1/query', 'lsst.deep_coadd')},
    coverage=tuple(
        Circle(ra, dec, 0.83)
        for ra, dec in (
            (6.02, -72.08),
            (37.86, 6.98),
            (40.00, -34.45),
            (53.13, -28.10),
            (59.10, -48.73),
            (95.00, -25.00),
            (106.23, -10.51),
        )
    ),
    access='token',
    acknowledgement=(
        'This material is based upon work supported in part by the National Science Foundation '
        'through Cooperative Agreements AST-1258333 and AST-2241526 and Cooperative Support '
        'Agreements AST-1202910 and 2211468 managed by the Association of Universities for '
        'Research in Astronomy (AURA), and the Department of Energy under Contract No. '
        'DE-AC02-76SF00515 with the SLAC National Accelerator Laboratory managed by Stanford '
        'University. Full text: https://citations.lsst.io/acknowledgements/'
    ),
    reference='10.71929/rubin/2570536',
    note='needs data rights; not all fields have all bands',
)

# Zero point, pixels, widths, and variances of pixels of the layer Wide: the defaults for HSC of
# the simulator xlens (https://github.com/mr-superonion/xlens, multiband_defaults.py). Coverage: the
# ranges planned for Wide (Aihara et al. 2018, PASJ 70, S4), approximate because the release has
# holes in them; the smaller Deep fields outside are left out.
_HSC = Survey(
    name='hsc-pdr3',
    title='Hyper Suprime-Cam Subaru Strategic Program, Public Data Release 3, Wide',
    bands=('g', 'r', 'i', 'z', 'y'),
    pixel_scale=0.168 * u.arcsec,
    psf_fwhm=[0.798, 0.749, 0.617, 0.697, 0.688] * u.arcsec,
    sky_noise=np.sqrt([1.4e-3, 2.9e-3, 4.7e-3, 19e-3, 85e-3]) * flux_of(27.0),
    rgb=('i', 'r', 'g'),
    zero_point=27.0,
    service='HscCutouts',
    ids={'hsc': ('https://hsc-release.mtk.nao.ac.jp/das_cutout/pdr3/cgi-bin/cutout', 'pdr3_wide')},
    coverage=(
        Patch((-1, 7), ra=(330, 40)),
        Patch((-2, 5), ra=(127.5, 225)),
        Patch((42.5, 44), ra=(200, 250)),
    ),
    access='account',
    acknowledgement=(
        'The Hyper Suprime-Cam (HSC) collaboration includes the astronomical communities of Japan '
        'and Taiwan, and Princeton University. Full text: '
        'https://hsc-release.mtk.nao.ac.jp/doc/index.php/acknowledging-hsc__pdr3/'
    ),
    reference='2022PASJ...74..247A',
)

# Median seeing, and depths at a signal-to-noise ratio of 10 in an aperture of 1.95 arcsec diameter
# (Abbott et al. 2021, ApJS 255, 20). The zero point is that of the coadded images.
_DES = Survey(
    name='des-dr2',
    title='Dark Energy Survey, Data Release 2',
    bands=('g', 'r', 'i', 'z', 'Y'),
    pixel_scale=0.263 * u.arcsec,
    psf_fwhm=[1.11, 0.95, 0.88, 0.83, 0.90] * u.arcsec,
    sky_noise=_noise_in_aperture(
        [24.7, 24.4, 23.8, 23.1, 21.7], 10, 0.975 * u.arcsec, 0.263 * u.arcsec
    ),
    rgb=('i', 'r', 'g'),
    zero_point=30.0,
    hips=_each('CDS/P/DES-DR2/{}', 'grizY'),
    hips_color='CDS/P/DES-DR2/ColorIRG',
    coverage=(
        Patch((-67, -40), ra=(300, 100), latitude=20),
        Patch((-40, -20), ra=(355, 80)),
        Patch((-20, -3), ra=(0, 45)),
        Patch((-3, 5), ra=(317, 45)),
    ),
    acknowledgement=(
        'This project used public archival data from the Dark Energy Survey (DES). Full text: '
        'https://des.ncsa.illinois.edu/thanks'
    ),
    reference='2021ApJS..255...20A',
)

# Depth of a single image of the Main Survey in its seeing of 2.5 arcsec
# (https://skymapper.anu.edu.au/surveys/skymapper-southern-sky-survey/); the HiPS combine images of
# several depths. Coverage: Onken et al. (2024).
_SKYMAPPER_FWHM = [2.5, 2.5, 2.5] * u.arcsec

_SKYMAPPER = Survey(
    name='skymapper',
    title='SkyMapper Southern Survey, Data Release 4',
    bands=('g', 'r', 'i'),
    pixel_scale=0.5 * u.arcsec,
    psf_fwhm=_SKYMAPPER_FWHM,
    sky_noise=noise_of_depth([21.0, 21.0, 20.0], _SKYMAPPER_FWHM, 0.5 * u.arcsec),
    rgb=('i', 'r', 'g'),
    hips=_each('CDS/P/Skymapper/DR4/{}', 'gri'),
    hips_color='CDS/P/Skymapper/DR4/color',
    coverage=(Patch((-90, 16)),),
    acknowledgement=(
        'The national facility capability for SkyMapper has been funded through ARC LIEF grant '
        'LE130100104 from the Australian Research Council, awarded to the University of Sydney, '
        'the Australian National University, Swinburne University of Technology, the University of '
        'Queensland, the University of Western Australia, the University of Melbourne, Curtin '
        'University of Technology, Monash University and the Australian Astronomical Observatory. '
        "SkyMapper is owned and operated by The Australian National University's Research School "
        'of Astronomy and Astrophysics. Full text: https://skymapper.anu.edu.au/'
    ),
    reference='2024PASA...41...61O',
)

_DSS2 = Survey(
    name='dss2',
    title='Digitized Sky Survey 2',
    bands=('blue', 'red', 'NIR'),
    pixel_scale=1.0 * u.arcsec,
    rgb=('NIR', 'red', 'blue'),
    nonlinear=dict.fromkeys(('Hips2Fits', 'SkyView'), ('blue', 'red', 'NIR')),
    hips=_each('CDS/P/DSS2/{}', ('blue', 'red', 'NIR')),
    hips_color='CDS/P/DSS2/color',
    ids={'skyview': {'blue': 'DSS2 Blue', 'red': 'DSS2 Red', 'NIR': 'DSS2 IR'}},
    acknowledgement=(
        'The Digitized Sky Surveys were produced at the Space Telescope Science Institute under '
        'U.S. Government grant NAG W-2166. The images of these surveys are based on photographic '
        'data obtained using the Oschin Schmidt Telescope on Palomar Mountain and the UK Schmidt '
        'Telescope. The plates were processed into the present compressed digital form with the '
        'permission of these institutions.'
    ),
    reference='1996ASPC..101...88L',
    note='photographic density, not flux',
)

# 10 sigma depths of point sources (Skrutskie et al. 2006), converted to AB magnitudes (Blanton &
# Roweis 2007, AJ 133, 734). Seeing: that of a seeing shape of 1; the best is 0.95
# (https://irsa.ipac.caltech.edu/data/2MASS/docs/supplementary/seeing/seesum.html).
_TWOMASS_FWHM = [2.7, 2.7, 2.7] * u.arcsec

_TWOMASS_DEPTH = np.array([15.8, 15.1, 14.3]) + [0.91, 1.39, 1.85] + 2.5 * np.log10(2)

_TWOMASS = Survey(
    name='2mass',
    title='Two Micron All Sky Survey',
    bands=('J', 'H', 'K'),
    pixel_scale=1.0 * u.arcsec,
    psf_fwhm=_TWOMASS_FWHM,
    sky_noise=noise_of_depth(_TWOMASS_DEPTH, _TWOMASS_FWHM, 1.0 * u.arcsec),
    rgb=('K', 'H', 'J'),
    hips=_each('CDS/P/2MASS/{}', 'JHK'),
    hips_color='CDS/P/2MASS/color',
    ids={'skyview': _each('2MASS-{}', 'JHK')},
    acknowledgement=(
        'This publication makes use of data products from the Two Micron All Sky Survey, which is '
        'a joint project of the University of Massachusetts and the Infrared Processing and '
        'Analysis Center/California Institute of Technology, funded by the National Aeronautics '
        'and Space Administration and the National Science Foundation.'
    ),
    reference='2006AJ....131.1163S',
)

_WISE_THANKS = (
    'This publication makes use of data products from the Wide-field Infrared Survey Explorer, '
    'which is a joint project of the University of California, Los Angeles, and the Jet Propulsion '
    'Laboratory/California Institute of Technology, and NEOWISE, which is a project of the Jet '
    'Propulsion Laboratory/California Institute of Technology. WISE and NEOWISE are funded by the '
    'National Aeronautics and Space Administration.'
)

# Resolution: Wright et al. (2010, AJ 140, 1868). Fluxes are in nanomaggies of the Vega system
# (https://catalog.unwise.me/catalogs.html), converted to AB by the offsets of the WISE team.
_UNWISE = Survey(
    name='unwise',
    title='unWISE coadds of WISE and NEOWISE',
    bands=('W1', 'W2'),
    pixel_scale=2.75 * u.arcsec,
    psf_fwhm=[6.1, 6.4] * u.arcsec,
    rgb=('W2', 'W1', 'W1'),
    zero_point=22.5 + np.array([2.699, 3.339]),
    hips=_each('CDS/P/unWISE/{}', ('W1', 'W2')),
    hips_color='CDS/P/unWISE/color-W2-W1W2-W1',
    acknowledgement=_WISE_THANKS,
    reference='2014AJ....147..108L',
)

_ALLWISE = Survey(
    name='allwise',
    title='AllWISE Atlas Images',
    bands=('W1', 'W2', 'W3', 'W4'),
    pixel_scale=1.375 * u.arcsec,
    rgb=('W4', 'W2', 'W1'),
    service='SiaImages',
    hips=_each('CDS/P/allWISE/{}', ('W1', 'W2', 'W3', 'W4')),
    hips_color='CDS/P/allWISE/color',
    ids={
        'sia': ('https://irsa.ipac.caltech.edu/SIA', 'wise_allwise'),
        'skyview': {'W1': 'WISE 3.4', 'W2': 'WISE 4.6', 'W3': 'WISE 12', 'W4': 'WISE 22'},
    },
    acknowledgement=_WISE_THANKS,
    reference='2010AJ....140.1868W',
    note='smoothed with the point-spread function a second time',
)

_HUBBLE_THANKS = (
    'This research is based on observations made with the NASA/ESA Hubble Space Telescope obtained '
    'from the Space Telescope Science Institute, which is operated by the Association of '
    'Universities for Research in Astronomy, Inc., under NASA contract NAS 5-26555.'
)

# PSF: the handbook of the Advanced Camera for Surveys has 0.10 to 0.14 arcsec after drizzling.
_HAP = Survey(
    name='hst-hap',
    title='Hubble Advanced Products',
    bands=('F606W', 'F814W'),
    pixel_scale=0.05 * u.arcsec,
    psf_fwhm=[0.12, 0.12] * u.arcsec,
    rgb=('F814W', 'F606W', 'F606W'),
    zero_point=22.5,
    service='MastCutouts',
    ids={'mast': 'hap'},
    coverage=(),
    acknowledgement=_HUBBLE_THANKS,
    note='single pointings; bands may be any filters of Hubble',
)

# PSF and depth of F160W, 5 sigma in an aperture of 0.17 arcsec radius in the wide fields: Guo et
# al. (2013, ApJS 207, 24).
_CANDELS = Survey(
    name='candels',
    title='Cosmic Assembly Near-infrared Deep Extragalactic Legacy Survey',
    bands=('F606W', 'F814W', 'F125W', 'F160W'),
    pixel_scale=0.06 * u.arcsec,
    psf_fwhm=[0.08, 0.09, 0.16, 0.17] * u.arcsec,
    sky_noise=_noise_in_aperture([np.nan] * 3 + [27.4], 5, 0.17 * u.arcsec, 0.06 * u.arcsec),
    rgb=('F160W', 'F125W', 'F814W'),
    zero_point=22.5,
    service='MastCutouts',
    ids={'mast': 'candels'},
    # GOODS-North, GOODS-South, UDS, EGS, COSMOS: centre and half the length of each.
    coverage=(
        Circle(189.2286, 62.2385, 0.15),
        Circle(53.1228, -27.8051, 0.15),
        Circle(34.4069, -5.2013, 0.2),
        Circle(214.825, 52.825, 0.26),
        Circle(150.1163, 2.2010, 0.2),
    ),
    acknowledgement=(
        'This work is based on observations taken by the CANDELS Multi-Cycle Treasury Program with '
        'the NASA/ESA HST, which is operated by the Association of Universities for Research in '
        'Astronomy, Inc., under NASA contract NAS5-26555.'
    ),
    reference='2011ApJS..197...35G',
)

# The mosaics of release 7 have pixels of 0.04 arcsec, and of 0.02 arcsec below 2.4 micrometres; the
# cutouts of the archive's service have 0.05 (grizli, grizli/aws/api_cutout.py). Widths:
# https://jwst-docs.stsci.edu, NIRCam Point Spread Functions. Coverage: that of CANDELS, whose
# fields they are, and Abell 2744; approximate, for mosaics have gaps.
_JWST_BANDS = ('F090W', 'F115W', 'F150W', 'F200W', 'F277W', 'F356W', 'F444W')

_JWST = Survey(
    name='jwst-dja',
    title='JWST mosaics of the DAWN JWST Archive, release 7',
    bands=_JWST_BANDS,
    pixel_scale=0.05 * u.arcsec,
    psf_fwhm=[0.033, 0.040, 0.050, 0.066, 0.092, 0.116, 0.145] * u.arcsec,
    rgb=('F444W', 'F277W', 'F150W'),
    zero_point=22.5,
    service='DjaCutouts',
    ids={'dja': {band: f'{band.lower()}-clear' for band in _JWST_BANDS}},
    coverage=(*_CANDELS.coverage, Circle(3.587, -30.35, 0.15)),
    acknowledgement=(
        '(Some of) The data products presented herein were retrieved from the Dawn JWST Archive '
        '(DJA). DJA is an initiative of the Cosmic Dawn Center (DAWN), which is funded by the '
        'Danish National Research Foundation under grant DNRF140. Programmes of JWST: '
        'https://dawn-cph.github.io/dja/'
    ),
    reference='2023ApJ...947...20V',
    note='resampled from mosaics of 0.02 and 0.04 arcsec; not all fields have all bands',
)

_UKIDSS = Survey(
    name='ukidss-las',
    title='UKIRT Infrared Deep Sky Survey, Large Area Survey, Data Release 11',
    bands=('Y', 'J', 'H', 'K'),
    pixel_scale=0.4 * u.arcsec,
    rgb=('K', 'H', 'J'),
    zero_point=22.5,
    service='WfauImages',
    ids={
        'wfau': ('UKIDSSDR11PLUS', 'LAS'),
        'skyview': _each('UKIDSS-{}', 'YJHK'),
    },
    coverage=(
        Patch((-2, 16), ra=(120, 240)),
        Patch((20, 40), ra=(110, 210)),
        Patch((-2, 16), ra=(310, 60)),
    ),
    acknowledgement=(
        'The UKIDSS project is defined in Lawrence et al. (2007). UKIDSS uses the UKIRT Wide Field '
        'Camera (WFCAM; Casali et al. 2007). The photometric system is described in Hewett et al. '
        '(2006), and the calibration is described in Hodgkin et al. (2009). The science archive is '
        'described in Hambly et al. (2008).'
    ),
    reference='2007MNRAS.379.1599L',
)

_VHS = Survey(
    name='vhs',
    title='VISTA Hemisphere Survey, Data Release 4',
    bands=('Y', 'J', 'H', 'Ks'),
    pixel_scale=0.339 * u.arcsec,
    rgb=('Ks', 'H', 'J'),
    zero_point=22.5,
    service='WfauImages',
    ids={'wfau': ('VHSDR4', 'VHS')},
    coverage=(Patch((-90, 2), latitude=5),),
    acknowledgement=(
        'Based on observations obtained as part of the VISTA Hemisphere Survey, ESO Program, '
        '179.A-2010 (PI: McMahon).'
    ),
    reference='2013Msngr.154...35M',
    note='in much of the survey J and Ks only',
)

#: The named surveys, the deepest and sharpest first.
SURVEYS = {
    survey.name: survey
    for survey in (
        _JWST,
        _CANDELS,
        _HAP,
        _EUCLID,
        _HSC,
        _RUBIN,
        _DES,
        _LEGACY,
        _LEGACY_DR9,
        _PANSTARRS,
        _SDSS,
        _SKYMAPPER,
        _VHS,
        _UKIDSS,
        _TWOMASS,
        _ALLWISE,
        _UNWISE,
        _DSS2,
    )
}

#: Short names of some surveys.
ALIASES = {
    'euclid': 'euclid-q1',
    'hsc': 'hsc-pdr3',
    'jwst': 'jwst-dja',
    'legacy': 'legacy-dr10',
    'panstarrs': 'panstarrs-dr1',
    'rubin': 'rubin-dp1',
    'sdss': 'sdss-dr9',
}
