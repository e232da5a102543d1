# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch the images of a catalogue, and write them to a file or folder of cutouts."""

import argparse
from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import (
    check_images,
    check_output,
    find_source,
    make_folder,
    read_catalog,
    refuse_nothing,
    report_counts,
)
from astro_morph.utils.progress import progress_bar

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = "catalogue.fits --survey legacy-dr10 --size '4*petroR90_r' --output cutouts.h5"
SHARED = [options.CATALOG, options.CUTOUTS, options.OVERWRITE, options.QUIET]

# Galaxies between two steps of the progress bar: a few minutes of a service.
BATCH = 256


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument(
        '--output',
        type=cutout_path,
        default='cutouts.h5',
        help='HDF5 file (.h5), or folder of Zarr (.zarr) or HATS (.hats) (default: cutouts.h5)',
    )
    command.add_argument('--plan', action='store_true', help='print the planned requests and exit')


def main(arguments):
    """Run the task."""
    from astro_morph.cutouts import RemoteSource, catalog_of
    from astro_morph.cutouts.outcome import Outcome
    from astro_morph.cutouts.storage import FOLDERS, check_catalog, write_batches
    from astro_morph.prediction.framing import stream_framed

    if not arguments.plan:
        may_be_folder = arguments.output.suffix in FOLDERS
        check_output(arguments.output, overwrite=arguments.overwrite, may_be_folder=may_be_folder)
    catalog = catalog_of(read_catalog(arguments.X))
    if catalog is None:
        msg = f'{str(arguments.X)!r} holds images without a catalogue; name a catalogue'
        raise ValueError(msg)
    source = find_source(arguments, catalog, bands=arguments.bands)
    check_images(source, catalog, size=arguments.size, bands=arguments.bands, most_rows=BATCH)
    if arguments.plan:
        is_remote = isinstance(source, RemoteSource)
        plan = source.plan(catalog, size=arguments.size) if is_remote else 'the images are local'
        print(plan)
        return
    check_catalog(catalog, arguments.output)
    make_folder(arguments.output)
    outcome = Outcome()
    batches = stream_framed(
        catalog,
        source=source,
        size=arguments.size,
        bands=arguments.bands,
        batch_size=BATCH,
        outcome=outcome,
    )
    with progress_bar(
        len(catalog), 'fetching', unit='galaxies', verbose=bool(arguments.verbose)
    ) as bar:
        write_batches(
            count(batches, bar, outcome),
            arguments.output,
            table=catalog,
            n_rows=len(catalog),
            overwrite=arguments.overwrite,
        )
    report_counts(outcome.counts, 'an image')


def cutout_path(text):
    """Read the path of a file or folder of cutouts."""
    from astro_morph.cutouts.storage import ENDINGS

    path = Path(text)
    if path.suffix not in ENDINGS:
        msg = f'{text!r} must end in {", ".join(ENDINGS[:-1])} or {ENDINGS[-1]}'
        raise argparse.ArgumentTypeError(msg)
    return path


def count(batches, bar, outcome):
    """Yield the batches, and count their galaxies; refuse a file without images."""
    for batch in batches:
        yield batch
        bar.update(len(batch))
    refuse_nothing(outcome.counts, outcome.text)
    outcome.warn()
