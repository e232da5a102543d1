# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Add the predictions of a model to a catalogue."""

from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import (
    find_source,
    is_cutout_file,
    load_model,
    name_beside,
    report_counts,
)
from astro_morph.utils.files import check_new

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = 'catalogue.fits --survey sdss-dr9'
SHARED = [options.CATALOG]

DEFAULT_MODEL = 'sdss-4class'


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument(
        'output',
        type=Path,
        nargs='?',
        help='file of the annotated catalogue (default: the name of the catalogue with -annotated)',
    )
    command.add_argument(
        '--model',
        type=Path,
        default=DEFAULT_MODEL,
        help='file of the model, from fit or export, or the name of a bundled one (default: '
        f'{DEFAULT_MODEL}, for colour pictures of SDSS galaxies)',
    )
    command.add_argument(
        '--overwrite', action='store_true', help='replace file and columns if they exist'
    )
    command.add_argument(
        '--resume', action='store_true', help='continue a run that was stopped, if there is one'
    )


def main(arguments):
    """Run the task."""
    output = arguments.output or name_beside(arguments.X, 'annotated')
    check_new(output, overwrite=arguments.overwrite or arguments.resume)
    has_images = is_cutout_file(arguments.X)
    classifier = load_model(arguments.model, source=arguments.source)
    if arguments.coord_columns is not None and not has_images:
        from astro_morph.catalog.io.chunks import TableChunks

        first_row = TableChunks(arguments.X, 1)[0]
        bands = classifier.model_.spec.bands
        classifier.source = find_source(arguments, first_row, bands=bands)
    counts = classifier.annotate_file(
        arguments.X, output, overwrite=arguments.overwrite, resume=arguments.resume
    )
    report_counts(counts, 'a class')
    if arguments.output is None:
        print(f'written to {output}')
