# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Train a model on the galaxies of a catalogue whose labels or numbers are known."""

from pathlib import Path

from astro_morph.catalog.vote_tree import GALAXY_ZOO, VoteTree, galaxy_zoo
from astro_morph.cli import options
from astro_morph.cli.files import (
    MODEL_ENDINGS,
    check_encoder,
    check_images,
    check_labels,
    check_numbers,
    check_output,
    find_source,
    make_folder,
    read_catalog,
    require_images,
)

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = "labelled.fits model.pt --source 'tiles/*-{band}.fits'"
SHARED = [
    options.CATALOG,
    options.LABELS,
    options.CUTOUTS,
    options.TRAINING,
    options.OVERWRITE,
]


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument('output', type=Path, help='file of the model')
    command.add_argument(
        '--target',
        type=options.names,
        help='columns of numbers to learn in place of labels, such as bulge_fraction',
    )
    command.add_argument(
        '--tree',
        metavar='PROJECT',
        choices=[*GALAXY_ZOO],
        help='project of volunteers whose votes to learn in place of labels: '
        + ', '.join(GALAXY_ZOO),
    )
    command.add_argument(
        '--voters',
        type=options.number_or_column,
        help='how many people looked at a galaxy, as a number or a column, if the columns of votes '
        'hold fractions',
    )
    command.add_argument(
        '--encoder',
        default='auto',
        help="encoder to start from: 'auto' for the bundled one, 'moco' to pretrain one on this "
        "catalogue first, 'auto+moco' to continue the bundled one on it, 'random', the file of "
        "one, or a published one as 'hf-hub:OWNER/NAME', 'local-dir:FOLDER' or 'timm:NAME' "
        '(default: auto)',
    )
    command.add_argument(
        '--strategy',
        default='auto',
        choices=['auto', 'linear', 'head', 'fine-tune', 'semi-supervised', 'rare'],
        help='how the labels are learnt; numbers by linear or fine-tune (default: auto)',
    )


def main(arguments):
    """Run the task."""
    check_output(arguments.output, endings=MODEL_ENDINGS, overwrite=arguments.overwrite)
    check_encoder(arguments.encoder, names=['auto', 'moco', 'auto+moco', 'random'])
    if arguments.target is not None and arguments.tree is not None:
        msg = '--target learns numbers and --tree votes; give one of them'
        raise ValueError(msg)
    check_strategy(arguments)
    X = read_catalog(arguments.X)
    if arguments.target is not None:
        check_numbers(X, arguments.target)
    elif arguments.tree is not None:
        check_numbers(X, VoteTree(galaxy_zoo(arguments.tree)).columns, 'tree')
    else:
        is_rare = arguments.strategy == 'rare'
        check_labels(X, arguments.label_column, has_weak_negatives=is_rare)
    source = find_source(arguments, X, bands=arguments.bands)
    check_images(source, X, size=arguments.size, bands=arguments.bands)
    require_images()
    from astro_morph.learning.training.processes import is_first

    estimator = _make_estimator(
        arguments,
        source=source,
        encoder=arguments.encoder,
        strategy=arguments.strategy,
        **options.training_options(arguments),
    ).fit(X)
    if is_first():
        make_folder(arguments.output)
        estimator.save(arguments.output, overwrite=arguments.overwrite)


def check_strategy(arguments):
    """Check that numbers and votes are to be learnt in a way that there is for them."""
    if arguments.target is not None and arguments.strategy not in ('auto', 'linear', 'fine-tune'):
        msg = (
            f'--strategy {arguments.strategy} is for classes; with --target, pass auto, linear or '
            'fine-tune'
        )
        raise ValueError(msg)
    if arguments.tree is not None and (arguments.strategy, arguments.epochs) != ('auto', 'auto'):
        msg = 'votes are learnt in one way; with --tree, leave out --strategy and --epochs'
        raise ValueError(msg)


def _make_estimator(arguments, **parameters):
    """Return the estimator that learns classes; or votes or numbers, if these are given."""
    if arguments.tree is not None:
        from astro_morph.estimators.votes import MorphologyVotes

        # Its head is fitted in one way, without epochs.
        parameters = {
            name: value for name, value in parameters.items() if name not in ('strategy', 'epochs')
        }
        return MorphologyVotes(arguments.tree, voters=arguments.voters, **parameters)
    if arguments.target is None:
        from astro_morph.estimators.classifier import MorphologyClassifier

        return MorphologyClassifier(label_column=arguments.label_column, **parameters)
    from astro_morph.estimators.regressor import MorphologyRegressor

    return MorphologyRegressor(arguments.target, **parameters)
