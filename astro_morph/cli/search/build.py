# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Build the index of a catalogue, to be searched for galaxies like an example."""

from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import (
    check_images,
    check_model,
    check_output,
    find_source,
    load_model,
    read_first_row,
)
from astro_morph.models.weights import DEFAULT_ENCODER

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = 'catalogue.fits galaxies.index --survey sdss-dr9'
SHARED = [options.CATALOG, options.OVERWRITE, options.QUIET]


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument('output', type=Path, help='folder of the index')
    command.add_argument(
        '--model',
        type=Path,
        default=DEFAULT_ENCODER,
        help='file of the encoder or model whose features are compared, from pretrain, fit or '
        f'export, or the name of a bundled one (default: {DEFAULT_ENCODER}, for colour pictures '
        'of SDSS galaxies)',
    )


def main(arguments):
    """Run the task."""
    check_output(arguments.output, overwrite=arguments.overwrite, may_be_folder=True)
    check_model(arguments.model)
    X = read_first_row(arguments.X)
    check_images(find_source(arguments, X), X)
    model = load_model(arguments.model, may_be_encoder=True)
    from astro_morph.prediction.search import build_index

    index = build_index(
        model,
        arguments.X,
        arguments.output,
        source=find_source(arguments, X, bands=model.spec.bands),
        overwrite=arguments.overwrite,
        verbose=bool(arguments.verbose),
    )
    print(f'{index.n_images} of {len(index)} galaxies can be found')
    if index.recall < 1:
        print(f'a search finds {index.recall:.1%} of the 20 nearest')
