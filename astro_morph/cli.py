# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The command line: ``astro-morph``."""

import argparse
import sys
from pathlib import Path

__all__ = ['main']

SOURCE_HELP = (
    "where the images are: the pattern of FITS mosaics such as 'tiles/*-{band}.fits', or 'auto' "
    "for the catalogue's column of image paths, which are relative to the catalogue"
)


def main(arguments=None):
    """
    Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    code : int
        0 where all went well, 1 after an error that the user can mend.
    """
    options = _parser().parse_args(arguments)
    try:
        options.task(options)
    except (OSError, ValueError) as error:
        print(f'astro-morph: {error}', file=sys.stderr)
        return 1
    return 0


def demo(options):
    """Run the main job on a simulated survey."""
    from astro_morph.demo import run

    run(options.output, random_state=options.random_state, verbose=options.verbose)


def pretrain(options):
    """Pretrain an encoder on all rows of a catalogue."""
    from astro_morph.encoder import MorphologyEncoder

    catalogue, source = _catalogue(options)
    encoder = MorphologyEncoder(
        source=source,
        size=options.size,
        epochs=options.epochs or 'auto',
        max_time=options.max_time,
        random_state=options.random_state,
        verbose=options.verbose,
    )
    encoder.fit(catalogue).save(options.output)


def fit(options):
    """Train a classifier on the labelled rows of a catalogue."""
    from astro_morph.classifier import MorphologyClassifier

    catalogue, source = _catalogue(options)
    classifier = MorphologyClassifier(
        source,
        label_column=options.labels,
        encoder=options.encoder,
        strategy=options.strategy,
        size=options.size,
        epochs=options.epochs or 'auto',
        max_time=options.max_time,
        random_state=options.random_state,
        verbose=options.verbose,
    )
    classifier.fit(catalogue).save(options.output)


def annotate(options):
    """Add a model's columns to a catalogue."""
    from astro_morph.table_io import write_table

    catalogue, source = _catalogue(options)
    annotated = _load(options.model, source).annotate(catalogue, overwrite=options.overwrite)
    write_table(annotated, options.output, overwrite=options.overwrite)


def evaluate(options):
    """Compare a model's predictions with the labels of a catalogue."""
    from astro_morph.evaluation import evaluate

    catalogue, source = _catalogue(options)
    model = _load(options.model, source)
    print(evaluate(model, catalogue, label_column=options.labels))


def export(options):
    """Write a model as ONNX."""
    _load(options.model, 'auto').to_onnx(options.output)


def _parser():
    from astro_morph import __version__

    parser = argparse.ArgumentParser(
        prog='astro-morph', description='Label the galaxies of a survey catalogue by morphology.'
    )
    parser.add_argument('--version', action='version', version=__version__)
    tasks = parser.add_subparsers(required=True, metavar='task')

    command = _add(tasks, demo, 'astro-morph demo')
    command.add_argument('--output', default='demo', help='folder to write to (default: demo)')
    _add_training(command)

    command = _add(
        tasks, pretrain, 'astro-morph pretrain survey.fits encoder.pt --source tiles.fits'
    )
    command.add_argument('catalogue', type=Path, help='file of the catalogue')
    command.add_argument('output', type=Path, help='file of the encoder')
    _add_images(command)
    _add_training(command, has_length=True)

    command = _add(
        tasks, fit, "astro-morph fit labelled.fits model.pt --source 'tiles/*-{band}.fits'"
    )
    command.add_argument('catalogue', type=Path, help='file of the catalogue')
    command.add_argument('output', type=Path, help='file of the model')
    _add_images(command)
    _add_labels(command)
    command.add_argument('--encoder', default='auto', help="'auto', 'moco', 'random' or a file")
    command.add_argument('--strategy', default='auto', help="'auto', 'linear' or 'fine-tune'")
    _add_training(command, has_length=True)

    command = _add(tasks, annotate, 'astro-morph annotate survey.fits out.fits --model model.onnx')
    command.add_argument('catalogue', type=Path, help='file of the catalogue')
    command.add_argument('output', type=Path, help='file of the annotated catalogue')
    _add_model(command)
    _add_images(command)
    command.add_argument('--overwrite', action='store_true', help='replace file and columns')

    command = _add(tasks, evaluate, 'astro-morph evaluate labelled.fits --model model.pt')
    command.add_argument('catalogue', type=Path, help='file of the catalogue')
    _add_model(command)
    _add_images(command)
    _add_labels(command)

    command = _add(tasks, export, 'astro-morph export morphology.onnx --model model.pt')
    command.add_argument('output', type=Path, help='ONNX file')
    _add_model(command)
    return parser


def _add(tasks, task, example):
    summary = task.__doc__
    command = tasks.add_parser(
        task.__name__,
        help=summary,
        description=summary,
        epilog=f'example:\n  {example}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(task=task)
    return command


def _add_images(command):
    command.add_argument('--source', default='auto', help=SOURCE_HELP)
    command.add_argument('--size', type=int, help='side of the cutouts in pixels')


def _add_labels(command):
    command.add_argument(
        '--labels', default='morphology', help='column of the labels (default: morphology)'
    )


def _add_model(command):
    command.add_argument('--model', required=True, help='file or name of the model')


def _add_training(command, *, has_length=False):
    if has_length:
        command.add_argument('--epochs', type=int, help='passes over the images')
        command.add_argument('--max-time', type=float, help='seconds after which training ends')
    command.add_argument('--random-state', type=int, default=0, help='seed (default: 0)')
    command.add_argument(
        '--quiet', dest='verbose', action='store_const', const=0, default=1, help='say nothing'
    )


def _catalogue(options):
    """Read the catalogue, and find its images beside it where it has a column of paths."""
    from astro_morph.catalog import find_image_column
    from astro_morph.cutouts import ImageFiles
    from astro_morph.table_io import read_table

    catalogue = read_table(options.catalogue)
    if options.source == 'auto' and find_image_column(catalogue) is not None:
        return catalogue, ImageFiles(folder=options.catalogue.parent)
    return catalogue, options.source


def _load(model, source):
    """Load a model by its file or its name."""
    from astro_morph import MorphologyClassifier, OnnxClassifier
    from astro_morph.bundled import bundled_names

    if model.endswith('.onnx'):
        return OnnxClassifier(model, source)
    if model in bundled_names():
        return MorphologyClassifier.from_pretrained(model, source=source)
    return MorphologyClassifier.load(model, source=source)
