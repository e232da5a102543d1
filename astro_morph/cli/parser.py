# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The command line: ``astro-morph``."""

import argparse
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

from astro_morph.models.bundled import bundled_names

__all__ = ['main']

SOURCE_HELP = (
    "where the images are: the pattern of FITS mosaics such as 'tiles/*-{band}.fits', the name of "
    "a survey such as 'legacy-dr10', or 'auto' for what the catalogue holds: image paths, which "
    'are relative to it, or images'
)

# What annotates where no model is named.
DEFAULT_MODEL = 'sdss-4class'

# Galaxies that are fetched between two steps of the progress bar: a few minutes of a service.
BATCH = 256

# The code of a command that Ctrl-C has ended, as shells have it.
INTERRUPTED = 130

# What the tasks that train hand over to their estimators.
TRAINING = ('size', 'epochs', 'max_time', 'random_state', 'verbose')

# What the package's messages call an argument is an option here.
OPTIONS = {
    'batch_size=': '--batch-size=',
    'checkpoint=': '--checkpoint=',
    'source=': '--source=',
    'encoder=': '--encoder=',
    'label_column': '--labels',
    'overwrite=True': '--overwrite',
    'as X;': 'with --on;',
    'precision=': '--precision=',
    'views=': '--views=',
    'resume=True': '--resume',
}


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
        0 where all went well, 1 after an error that the user can mend, 130 after Ctrl-C.
    """
    options = make_parser().parse_args(arguments)
    from astro_morph.cutouts import OutageError

    try:
        options.task(options)
    except (ImportError, OSError, OutageError, ValueError) as error:
        print(f'astro-morph: {_explain(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        advice = '; go on with --resume' if 'resume' in options else ''
        print(
            f'astro-morph: interrupted; images that were fetched are kept{advice}', file=sys.stderr
        )
        return INTERRUPTED
    return 0


def demo(options):
    """Run the main job on a simulated survey."""
    from astro_morph.cli.demo import run

    run(options.output, random_state=options.random_state, verbose=options.verbose)


def fetch(options):
    """Get the images of a catalogue, and keep them in a file of cutouts."""
    from tqdm import tqdm

    from astro_morph.cutouts import RemoteSource, as_source, catalog_of, stream_cutouts
    from astro_morph.cutouts.storage import read_cutouts, write_batches

    catalogue, source = _read_catalogue(options)
    catalogue = catalog_of(catalogue)
    source = as_source(source, catalogue, bands=options.bands)
    if options.plan:
        is_remote = isinstance(source, RemoteSource)
        print(source.plan(catalogue, size=options.size) if is_remote else 'the images are here')
        return
    _rehearse(catalogue, options)
    batches = stream_cutouts(
        catalogue, source=source, size=options.size, bands=options.bands, batch_size=BATCH
    )
    with tqdm(total=len(catalogue), unit=' galaxies', disable=not options.verbose) as bar:
        write_batches(
            _counting(batches, bar),
            options.output,
            table=catalogue,
            n_rows=len(catalogue),
            overwrite=options.overwrite,
        )
    counts = Counter(read_cutouts(options.output).status.tolist())
    print(_count(counts, 'an image'))


def pretrain(options):
    """Pretrain an encoder on all rows of a catalogue."""
    from astro_morph.estimators.encoder import MorphologyEncoder

    catalogue, source = _read_catalogue(options)
    _make_folder(options.output)
    encoder = MorphologyEncoder(
        source=source,
        batch_size=options.batch_size,
        checkpoint=options.checkpoint,
        **_training_options(options),
    )
    _save(encoder.fit(catalogue), options.output)


def fit(options):
    """Train a classifier on the labelled rows of a catalogue."""
    from astro_morph.estimators.classifier import MorphologyClassifier

    catalogue, source = _read_catalogue(options)
    _make_folder(options.output)
    classifier = MorphologyClassifier(
        source,
        label_column=options.labels,
        encoder=options.encoder,
        strategy=options.strategy,
        **_training_options(options),
    )
    _save(classifier.fit(catalogue), options.output)


def label(options):
    """Label galaxies by eye, on a page that this machine alone sees."""
    from astro_morph.estimators.classifier import MorphologyClassifier
    from astro_morph.labelling import label

    catalogue, source = _read_catalogue(options)
    classifier = MorphologyClassifier(
        source,
        label_column=options.labels,
        encoder=options.encoder,
        size=options.size,
        random_state=options.random_state,
        verbose=options.verbose,
    )
    # The first dot, for the sake of names such as galaxies.fits.gz.
    name, dot, ending = options.catalogue.name.partition('.')
    output = options.output or options.catalogue.with_name(f'{name}-labelled{dot}{ending}')
    _make_folder(output)
    table = label(
        catalogue,
        output,
        classifier=classifier,
        classes=options.classes,
        strategy=options.strategy,
        port=options.port,
        show=options.show,
    )
    n_labels = len(table) - table[options.labels].mask.sum()
    print(f'{n_labels} of {len(table)} galaxies have a label in {output}')


def annotate(options):
    """Add a model's columns to a catalogue."""
    classifier = _load(options.model, options.source)
    output = options.output or _name_annotated(options.catalogue)
    counts = classifier.annotate_file(
        options.catalogue, output, overwrite=options.overwrite, resume=options.resume
    )
    print(_count(counts, 'a class'))
    if options.output is None:
        print(f'written to {output}')


def evaluate(options):
    """Compare a model's predictions with the labels of a catalogue."""
    catalogue, source = _read_catalogue(options)
    model = _load(options.model, source)
    if options.report is None:
        from astro_morph.evaluation import evaluate

        print(evaluate(model, catalogue, label_column=options.labels))
        return
    from tqdm import tqdm

    from astro_morph.evaluation.report import write_report

    _make_folder(options.report)
    with tqdm(unit=' galaxies') as bar:
        evaluation = write_report(
            model.model_,
            catalogue,
            options.report,
            label_column=options.labels,
            source=model.source,
            bar=bar,
        )
    print(evaluation)


def export(options):
    """Write a model as ONNX."""
    from astro_morph.estimators.classifier import MorphologyClassifier

    catalogue, source = (None, 'auto') if options.catalogue is None else _read_catalogue(options)
    classifier = MorphologyClassifier.load(
        _existing(options.model), source=source, label_column=options.labels
    )
    _make_folder(options.output)
    cost = classifier.to_onnx(
        options.output, catalogue, precision=options.precision, views=options.views
    )
    print(cost)


def cache(options):
    """Show what is kept of the images that were fetched; prune or clear it."""
    from astro_morph.cutouts.fetching.cache import CutoutCache

    cache = CutoutCache()
    if options.action == 'prune':
        cache.prune(cache.max_size if options.max_size is None else options.max_size)
    elif options.action == 'clear':
        cache.clear()
    print(cache.describe())


def make_parser():
    from astro_morph import __version__

    parser = argparse.ArgumentParser(
        prog='astro-morph', description='Label the galaxies of a survey catalogue by morphology.'
    )
    parser.add_argument('--version', action='version', version=__version__)
    tasks = parser.add_subparsers(required=True, metavar='task')

    command = _add(tasks, demo, 'astro-morph demo')
    command.add_argument('--output', default='demo', help='folder to write to (default: demo)')
    _add_run(command)

    command = _add(
        tasks,
        fetch,
        "astro-morph fetch catalogue.fits --survey legacy-dr10 --size '4*petroR90_r' "
        '--output cutouts.h5',
    )
    command.add_argument('catalogue', type=Path, help='file of the catalogue')
    _add_source(command)
    command.add_argument(
        '--output', type=hdf5_file, default='cutouts.h5', help='HDF5 file (default: cutouts.h5)'
    )
    _add_size(command)
    command.add_argument(
        '--bands',
        type=names_of_bands,
        help="bands such as 'g,r,z', or 'rgb' for colour pictures (default: all of the survey)",
    )
    command.add_argument(
        '--plan', action='store_true', help='say what a service would be asked for, and ask not'
    )
    command.add_argument('--overwrite', action='store_true', help='replace the file')
    _add_quiet(command)

    command = _add(
        tasks,
        pretrain,
        "astro-morph pretrain survey.fits encoder.pt --source 'tiles/*-{band}.fits'",
    )
    _add_catalogue(command)
    _add_output(command, 'file of the encoder')
    _add_training(command)
    command.add_argument(
        '--batch-size',
        type=int,
        default=256,
        help='images a step, in all processes together (default: 256)',
    )
    command.add_argument(
        '--checkpoint',
        type=Path,
        help='file that is written every few minutes and before Ctrl-C or SIGTERM end the run; '
        'if it is there, the run goes on from it',
    )
    _add_run(command)

    command = _add(
        tasks, fit, "astro-morph fit labelled.fits model.pt --source 'tiles/*-{band}.fits'"
    )
    _add_catalogue(command)
    _add_output(command, 'file of the model')
    _add_labels(command)
    command.add_argument(
        '--encoder',
        default='auto',
        help="what to start from: 'auto' for the bundled encoder, 'moco' to pretrain one on this "
        "catalogue first, 'random', or the file of one (default: auto)",
    )
    command.add_argument(
        '--strategy',
        default='auto',
        choices=['auto', 'linear', 'head', 'fine-tune', 'semi-supervised'],
        help='how the classes are learnt (default: auto)',
    )
    _add_training(command)
    _add_run(command)

    command = _add(
        tasks,
        label,
        'astro-morph label survey.fits --classes spiral,elliptical,merger '
        "--source 'tiles/*-{band}.fits'",
    )
    _add_catalogue(command)
    command.add_argument(
        '--output',
        type=Path,
        help='file of the catalogue with the labels, from which labelling goes on if it is there '
        '(default: the name of the catalogue with -labelled)',
    )
    command.add_argument(
        '--classes',
        type=names_of_classes,
        help='classes to choose from, such as spiral,elliptical,merger (default: those that the '
        'catalogue has)',
    )
    _add_labels(command)
    command.add_argument(
        '--strategy',
        default='diverse',
        choices=['diverse', 'margin', 'entropy', 'novelty'],
        help='by what galaxies are chosen (default: diverse)',
    )
    command.add_argument(
        '--encoder',
        default='auto',
        help="what gives the features: 'auto' for the bundled encoder, or the file of one "
        '(default: auto)',
    )
    _add_size(command)
    command.add_argument('--port', type=int, default=0, help='port of the page (default: any)')
    command.add_argument(
        '--no-browser', dest='show', action='store_false', help='print the address only'
    )
    _add_run(command)

    command = _add(
        tasks,
        annotate,
        'astro-morph annotate catalogue.fits --survey sdss-dr9',
    )
    _add_catalogue(command)
    command.add_argument(
        'output',
        type=Path,
        nargs='?',
        help='file of the annotated catalogue (default: that of the catalogue, with "-annotated" '
        'in its name)',
    )
    _add_model(
        command,
        'file of the model, from fit or export, or the name of a bundled one (default: '
        f'{DEFAULT_MODEL}, for colour pictures of SDSS galaxies)',
        default=DEFAULT_MODEL,
    )
    command.add_argument('--overwrite', action='store_true', help='replace file and columns')
    command.add_argument(
        '--resume', action='store_true', help='go on with a run that was stopped, if there is one'
    )

    command = _add(
        tasks,
        evaluate,
        "astro-morph evaluate labelled.fits --model model.pt --source 'tiles/*-{band}.fits'",
    )
    _add_catalogue(command)
    _add_model(command, 'file of the model, from fit or export')
    _add_labels(command)
    command.add_argument(
        '--report',
        type=Path,
        help='HTML file of a web page with charts and the worst mistakes, which needs nothing else',
    )

    command = _add(
        tasks,
        export,
        'astro-morph export model.onnx --model model.pt --precision int8 --on labelled.fits '
        "--source 'tiles/*-{band}.fits'",
    )
    _add_output(command, 'ONNX file')
    _add_model(command, 'file of the model, from fit')
    command.add_argument(
        '--precision',
        default='float32',
        choices=['float32', 'float16', 'int8'],
        help='precision of the encoder; int8 is the fastest (default: float32)',
    )
    command.add_argument(
        '--views',
        type=int,
        choices=[1, 4, 8],
        help='rotations and reflections that are averaged (default: all of the model)',
    )
    command.add_argument(
        '--on',
        dest='catalogue',
        type=Path,
        metavar='CATALOGUE',
        help='galaxies, some of them labelled, on which it is measured what lower precision and '
        'fewer views change: needed for both',
    )
    _add_source(command)
    _add_labels(command)

    command = _add(tasks, cache, 'astro-morph cache prune --max-size 2GB')
    command.add_argument(
        'action', nargs='?', default='show', choices=['show', 'prune', 'clear'], help='what to do'
    )
    command.add_argument(
        '--max-size',
        type=number_of_bytes,
        help='size to prune to; the images unused for longest go (default: that of the settings)',
    )
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


def _add_catalogue(command):
    command.add_argument(
        'catalogue', type=Path, help='file of the catalogue, or of cutouts from fetch'
    )
    _add_source(command)


def _add_source(command):
    command.add_argument(
        '--source',
        '--images',
        '--survey',
        dest='source',
        metavar='SOURCE',
        default='auto',
        help=SOURCE_HELP,
    )


def _add_output(command, what):
    command.add_argument('output', type=Path, help=what)


def _add_labels(command):
    command.add_argument(
        '--labels', default='morphology', help='column of the labels (default: morphology)'
    )


def _add_model(command, what, *, default=None):
    command.add_argument('--model', type=Path, default=default, required=default is None, help=what)


def _add_training(command):
    _add_size(command)
    command.add_argument(
        '--epochs',
        type=number_of_epochs,
        default='auto',
        help='passes over the images (default: auto)',
    )
    command.add_argument('--max-time', type=float, help='seconds after which training ends')


def number_of_epochs(text):
    return text if text == 'auto' else int(text)


def _add_size(command):
    command.add_argument(
        '--size',
        type=size_of_cutouts,
        help="side of the cutouts in pixels or as an angle such as '30 arcsec'; or the column and "
        "factor that it follows, such as '4*petroR90_r' (default: 64 pixels)",
    )


def size_of_cutouts(text):
    from astropy.units import Quantity

    if text.isdecimal():
        return int(text)
    is_quantity = re.fullmatch(r'[\d.]+\s*[a-z]+', text)
    return Quantity(text) if is_quantity else text


def hdf5_file(text):
    if not text.endswith(('.h5', '.hdf5')):
        msg = f'{text!r} must end in .h5 or .hdf5'
        raise argparse.ArgumentTypeError(msg)
    return Path(text)


def names_of_bands(text):
    return text if text == 'rgb' else text.split(',')


def names_of_classes(text):
    return [name.strip() for name in text.split(',')]


def number_of_bytes(text):
    from astropy.units import Quantity

    return Quantity(text).to_value('byte')


def _add_run(command):
    command.add_argument('--random-state', type=int, default=0, help='seed (default: 0)')
    _add_quiet(command)


def _add_quiet(command):
    command.add_argument(
        '--quiet', dest='verbose', action='store_const', const=0, default=1, help='say nothing'
    )


def _training_options(options):
    return {name: getattr(options, name) for name in TRAINING}


def _save(estimator, path):
    """Save what was fitted, once where several processes have done it together."""
    from astro_morph.learning.training.processes import is_first

    if is_first():
        estimator.save(path)


def _read_catalogue(options):
    """Read the catalogue or cutouts, and find its images beside it if it has a column of paths."""
    from astro_morph.catalog import find_image_column
    from astro_morph.catalog.io.tables import read_table
    from astro_morph.cutouts import CutoutSet, ImageFiles
    from astro_morph.cutouts.storage import ENDINGS, holds_cutouts

    path = _existing(options.catalogue)
    if path.suffix in ENDINGS and holds_cutouts(path):
        return CutoutSet.read(path), options.source
    try:
        catalogue = read_table(path)
    except (OSError, ValueError) as error:
        msg = f'the catalogue {str(path)!r} cannot be read, is it whole and named as it is? {error}'
        raise ValueError(msg) from error
    if options.source == 'auto' and find_image_column(catalogue) is not None:
        return catalogue, ImageFiles(folder=path.parent)
    return catalogue, options.source


def _name_annotated(catalogue):
    """Name the file of the annotated catalogue, beside that of the catalogue."""
    plain = catalogue.with_suffix('') if catalogue.suffix == '.gz' else catalogue
    return plain.with_stem(f'{plain.stem}-annotated')


def _load(path, source):
    """Load a model, whoever runs it: from a file, or one that comes with the package."""
    if str(path) in bundled_names():
        from astro_morph.estimators.classifier import MorphologyClassifier

        return MorphologyClassifier.from_pretrained(str(path), source=source)
    if _existing(path).suffix == '.onnx':
        from astro_morph.estimators.onnx import OnnxClassifier

        return OnnxClassifier(path, source)
    from astro_morph.estimators.classifier import MorphologyClassifier

    return MorphologyClassifier.load(path, source=source)


def _existing(path):
    if not path.is_file():
        msg = f'there is no file {str(path)!r}; check its name and folder'
        raise FileNotFoundError(msg)
    return path


def _make_folder(path):
    """Make the folder of a file, before the work whose result it is to hold."""
    path.parent.mkdir(parents=True, exist_ok=True)


def _rehearse(catalogue, options):
    """Find out before the work, not after it, whether the catalogue can be written."""
    from astro_morph.catalog.io.tables import write_table

    if options.output.exists() and not options.overwrite:
        msg = f'{options.output} is there already; use overwrite=True to replace it'
        raise FileExistsError(msg)
    _make_folder(options.output)
    with tempfile.TemporaryDirectory() as folder:
        write_table(catalogue, Path(folder) / options.output.name)


def _counting(batches, bar):
    for batch in batches:
        yield batch
        bar.update(len(batch))


def _count(counts, what):
    """Say in one line how many rows have what they are to have, and why the others have not."""
    reasons = ''.join(f', {n} {reason}' for reason, n in counts.most_common() if reason != 'ok')
    return f'{counts["ok"]} of {counts.total()} galaxies have {what}{reasons}'


def _explain(error):
    """Say in one line what went wrong, in the words of the command line."""
    text = str(error).partition('\n')[0] or repr(error)
    for argument, option in OPTIONS.items():
        text = text.replace(argument, option)
    return text
