# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Compare the predictions of a model with the labels or numbers of a catalogue."""

from pathlib import Path

from astro_morph.catalog.io.tables import read_table
from astro_morph.cli import options
from astro_morph.cli.files import (
    check_exists,
    check_images,
    check_labels,
    check_model,
    check_numbers,
    check_output,
    find_source,
    frame_model,
    load_estimator,
    make_folder,
    read_catalog,
    require_images,
)
from astro_morph.utils.messages import as_written

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = "labelled.fits --model model.pt --source 'tiles/*-{band}.fits'"
SHARED = [options.CATALOG, options.FRAMING, options.LABELS, options.OVERWRITE, options.QUIET]


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument(
        '--model', type=Path, required=True, help='file of the model, from fit or export'
    )
    command.add_argument(
        '--target',
        type=options.names,
        help='columns of the true numbers, for a model of numbers (default: their names in the '
        'training)',
    )
    command.add_argument(
        '--by',
        type=options.names,
        help='columns, such as a magnitude or the survey, by whose bins or kinds a model of '
        'classes is evaluated too',
    )
    command.add_argument(
        '--fractions',
        type=Path,
        help='catalogue that this model of classes has annotated, whose class fractions are '
        'printed, corrected for the confusion, with 90 %% intervals, also by the columns of --by',
    )
    command.add_argument(
        '--report',
        type=Path,
        help='HTML file of a web page with charts and the most confident misclassifications, for '
        'a model of classes',
    )


def main(arguments):
    """Run the task."""
    if arguments.report is not None:
        check_output(arguments.report, endings=('.html', '.htm'), overwrite=arguments.overwrite)
    check_model(arguments.model)
    population = arguments.fractions and read_table(check_exists(arguments.fractions))
    X = read_catalog(arguments.X)
    check_images(find_source(arguments, X), X)
    require_images()
    # A column that is named is checked before the model is loaded, which takes seconds.
    if arguments.label_column != options.LABEL_COLUMN:
        check_labels(X, arguments.label_column)
    if arguments.target:
        check_numbers(X, arguments.target)
    model = load_estimator(
        arguments.model, label_column=arguments.label_column, verbose=arguments.verbose
    )
    frame_model(model.model_, arguments.size)
    model.size = arguments.size
    predicts = model.model_.spec.predicts
    wanted = [name for name in ('report', 'by', 'fractions') if getattr(arguments, name)]
    if predicts == 'classes':
        check_labels(X, arguments.label_column)
    elif predicts == 'votes' or wanted:
        msg = (
            f'{str(arguments.model)!r} is a model of {predicts}, expected one of classes'
            + (f' for {as_written(wanted[0])}' if wanted else ' or numbers')
            + '; name another, or use annotate'
        )
        raise ValueError(msg)
    else:
        model.target = arguments.target
        check_numbers(X, model.target or model.model_.spec.classes)
    model.source = find_source(arguments, X, bands=model.model_.spec.bands)
    if arguments.report is not None:
        make_folder(arguments.report)
        evaluation = model.report(
            X, arguments.report, by=arguments.by, overwrite=arguments.overwrite
        )
        print(evaluation)
    elif predicts == 'numbers':
        # All columns, also where the output is no terminal.
        print(*model.evaluate(X).pformat(max_lines=-1, max_width=-1), sep='\n')
    else:
        evaluation = model.evaluate(X, by=arguments.by)
        print(evaluation)
    if population is not None:
        for name in [None, *(arguments.by or ())]:
            table = evaluation.fractions(population, by=name)
            print('', *table.pformat(max_lines=-1, max_width=-1), sep='\n')
