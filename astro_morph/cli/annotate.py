# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Add the predictions of a model to a catalogue."""

from pathlib import Path

import numpy as np

from astro_morph.cli import options
from astro_morph.cli.files import (
    check_images,
    check_model,
    check_table_output,
    find_source,
    frame_model,
    load_model,
    name_beside,
    read_first_row,
    refuse_nothing,
    report_counts,
)

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = 'catalogue.fits --survey sdss-dr9'
SHARED = [options.CATALOG, options.FRAMING, options.QUIET]

DEFAULT_MODEL = 'gz2-5class'


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
        '--prefix', default='morph_', help="prefix of the new columns' names (default: morph_)"
    )
    command.add_argument(
        '--columns',
        type=options.names,
        help='what a model of votes writes, with commas between: fraction, std, dirichlet, votes, '
        "entropy, asked, and paths such as 'spirals = featured and not edge-on and spiral' "
        '(default: fractions, their standard deviations and who is asked)',
    )
    command.add_argument(
        '--embedding',
        type=options.whole_number(1, 10**4),
        metavar='N',
        help='write the first N principal components of the features as one column of arrays, such '
        'as 40 (default: none)',
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
    check_table_output(output, overwrite=arguments.overwrite or arguments.resume)
    check_model(arguments.model)
    X = read_first_row(arguments.X)
    check_columns(X, arguments)
    check_images(find_source(arguments, X), X)
    model = frame_model(load_model(arguments.model), arguments.size)
    from astro_morph.prediction.streaming import annotate_file

    counts = annotate_file(
        model,
        arguments.X,
        output,
        source=find_source(arguments, X, bands=model.spec.bands),
        columns=arguments.columns,
        embedding=arguments.embedding,
        prefix=arguments.prefix,
        overwrite=arguments.overwrite,
        resume=arguments.resume,
        verbose=bool(arguments.verbose),
        check=refuse_nothing,
    )
    is_of_classes = model.spec.predicts == 'classes'
    report_counts(counts, 'a class' if is_of_classes else 'a prediction')
    if arguments.output is None:
        print(f'written to {output}')


def check_columns(X, arguments):
    """Check before the work that the columns of all models may be written into a catalogue."""
    from astropy.table import Table

    from astro_morph.catalog import write_numbers
    from astro_morph.cutouts import catalog_of

    write_numbers(
        (catalog_of(X) or Table())[:0],
        Table(),
        status=np.zeros(0, str),
        flags=np.zeros(0, int),
        provenance={},
        prefix=arguments.prefix,
        overwrite=arguments.overwrite,
    )
