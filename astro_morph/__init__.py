# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Label the galaxies of a survey catalogue by morphology, from few labels."""

import importlib

from astropy import config as _config

__all__ = [
    'CutoutSet',
    'MorphologyClassifier',
    'MorphologyEncoder',
    'MorphologyRegressor',
    'MorphologyVotes',
    'OnnxClassifier',
    'OnnxRegressor',
    'OnnxVotes',
    'conf',
    'decode_flags',
]

# Where each public name lives: a name is imported when it is first asked for, because torch
# alone takes longer to import than most catalogues take to read.
_HOMES = {
    'CutoutSet': 'astro_morph.cutouts',
    'MorphologyClassifier': 'astro_morph.estimators.classifier',
    'MorphologyEncoder': 'astro_morph.estimators.encoder',
    'MorphologyRegressor': 'astro_morph.estimators.regressor',
    'MorphologyVotes': 'astro_morph.estimators.votes',
    'OnnxClassifier': 'astro_morph.estimators.onnx',
    'OnnxRegressor': 'astro_morph.estimators.onnx',
    'OnnxVotes': 'astro_morph.estimators.onnx',
    'decode_flags': 'astro_morph.catalog.flags',
}


class Conf(_config.ConfigNamespace):
    """Configuration of astro_morph, read from Astropy's configuration files."""

    survey = _config.ConfigItem(
        '',
        "Where images come from when source='auto' and the table has no image-path column: "
        'the name of a survey, its TOML file, or the path pattern of FITS mosaics.',
        cfgtype='string',
    )
    cache_file = _config.ConfigItem(
        '',
        'File that keeps the cutouts that were fetched; by default in the cache folder of Astropy.',
        cfgtype='string',
    )
    cache_size = _config.ConfigItem(
        10.0, 'Size in GB above which that file loses the cutouts unused for longest.'
    )
    # Twenty times a picture of a large galaxy, or a mosaic of 15,000 x 15,000 pixels; and a laptop
    # has room for it. A file of a few kB can announce any size, or decompress to it.
    max_image_size = _config.ConfigItem(
        1.0,
        'Memory in GB that one image file may take when it is read; mosaics that are not '
        'compressed take none.',
        cfgtype='float(min=0)',
    )
    requests_at_once = _config.ConfigItem(
        4, 'Requests that are under way at any time, for each host.', cfgtype='integer(min=1)'
    )
    requests_per_second = _config.ConfigItem(
        5.0, 'Requests that begin in a second at most, for each host.', cfgtype='float(min=0.001)'
    )
    timeout = _config.ConfigItem(
        30.0,
        'Seconds to wait for an answer before a try has failed; more are allowed while it arrives '
        'at 10 kB/s or more.',
        cfgtype='float(min=0.001)',
    )
    # The time of the largest answer at 1.7 MB/s, or of a plate of 100 MB at 0.3 MB/s.
    max_answer_time = _config.ConfigItem(
        300.0, 'Seconds after which a try has failed in any case.', cfgtype='float(min=0.001)'
    )
    # Whole images of archives have up to 400 MB; four requests at once fit into common memories.
    max_answer_size = _config.ConfigItem(
        0.5, 'Size in GB above which an answer is refused, decompressed.', cfgtype='float(min=0)'
    )
    tries = _config.ConfigItem(
        4,
        'How often to try a request that ends in a time-out, a broken connection, 429 or 5xx.',
        cfgtype='integer(min=1)',
    )


conf = Conf()


def __getattr__(name):
    if name == '__version__':
        from importlib.metadata import version

        return version('astro-morph')
    if name in _HOMES:
        from astro_morph.utils.messages import naming_packages

        with naming_packages():
            return getattr(importlib.import_module(_HOMES[name]), name)
    msg = f'module {__name__!r} has no attribute {name!r}'
    raise AttributeError(msg)


def __dir__():
    return sorted({*globals(), *_HOMES, '__version__'})
