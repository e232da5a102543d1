# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Label a simulated survey, from images to an annotated catalogue, without a network."""

import time
from pathlib import Path

import numpy as np

from astro_morph.cli import options
from astro_morph.cli.files import check_output
from astro_morph.utils.messages import as_written

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main', 'run']

EXAMPLE = '--output demo'
SHARED = [options.RUN]

# Galaxies of the survey, and how many of them have a label.
N_GALAXIES = 800
N_LABELLED = 400

# Simulated galaxies are easier than real ones: fewer epochs than the default are enough.
EPOCHS = 24

# Galaxies in the picture.
N_SHOWN = 32


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument(
        '--output', type=Path, default='demo', help='folder to write to (default: demo)'
    )


def main(arguments):
    """Run the task."""
    if not arguments.output.exists():
        check_output(arguments.output)
    elif not arguments.output.is_dir():
        msg = f'{as_written("output", arguments.output)} is a file; name a folder'
        raise NotADirectoryError(msg)
    run(arguments.output, random_state=arguments.random_state, verbose=arguments.verbose)


def run(folder, *, random_state=0, verbose=1):
    """
    Label a simulated survey, and write images, annotated catalogue, model and picture.

    Parameters
    ----------
    folder : path
        Folder of the files; files of an earlier run are replaced.
    random_state : int, default=0
        Seed of the sky and of the training.
    verbose : int, default=1
        0 for silence.

    Returns
    -------
    evaluation : `~astro_morph.evaluation.Evaluation`
        The classes predicted for the galaxies that had no label, beside the true ones.
    """
    from astro_morph.catalog import probability_columns
    from astro_morph.catalog.io.tables import write_table
    from astro_morph.cutouts import Mosaics
    from astro_morph.estimators.classifier import MorphologyClassifier
    from astro_morph.estimators.onnx import OnnxClassifier
    from astro_morph.evaluation import Evaluation
    from astro_morph.simulation import SimulatedSurvey

    start = time.perf_counter()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    survey = SimulatedSurvey('sdss', n_galaxies=N_GALAXIES, random_state=random_state)
    survey.write(folder, overwrite=True)
    images = Mosaics(folder / 'sdss-{band}.fits')
    truth = survey.catalogue
    catalog, is_labelled = hide_labels(truth, N_LABELLED, random_state)

    classifier = MorphologyClassifier(
        images, epochs=EPOCHS, random_state=random_state, verbose=verbose
    )
    classifier.fit(catalog)
    classifier.to_onnx(folder / 'morphology.onnx', overwrite=True)
    annotated = OnnxClassifier(folder / 'morphology.onnx', images).annotate(catalog)
    write_table(annotated, folder / 'annotated.ecsv', overwrite=True)

    truth, annotated = truth[~is_labelled], annotated[~is_labelled]
    names = probability_columns(classifier.classes_)
    evaluation = Evaluation(
        classifier.classes_,
        true=np.array(truth['morphology']),
        probabilities=np.transpose([annotated[name] for name in names]),
    )
    draw(images, annotated, truth).savefig(folder / 'demo.png', dpi=150)
    if verbose:
        print(
            f'{N_LABELLED} of {N_GALAXIES} simulated galaxies had a label. On the others, which '
            f'the classifier has not seen:\n\n{evaluation}\n\n'
            f'Written to {folder} in {time.perf_counter() - start:.0f} s:\n'
            '  annotated.ecsv   the catalogue with the new columns\n'
            '  morphology.onnx  the model, for any machine\n'
            '  demo.png         some galaxies with class and confidence\n'
            '  sdss-*.fits      the images'
        )
    return evaluation


def hide_labels(truth, n_labelled, random_state):
    """Return a catalogue of positions with the labels of some galaxies, and which these are."""
    from astropy.table import Table

    is_labelled = np.zeros(len(truth), bool)
    order = np.random.default_rng(random_state).permutation(len(truth))
    is_labelled[order[:n_labelled]] = True
    catalog = Table(truth['ra', 'dec', 'morphology'], masked=True)
    catalog['morphology'].mask = ~is_labelled
    return catalog, is_labelled


def draw(source, annotated, truth):
    """Draw some galaxies with their predicted class and confidence, wrong ones in red."""
    from astro_morph import plotting

    shown = annotated[:N_SHOWN]
    titles = [f'{row["morph_class"]} {row["morph_confidence"]:.2f}' for row in shown]
    is_right = shown['morph_class'] == truth['morphology'][:N_SHOWN]
    return plotting.cutouts(source.fetch(shown), titles=titles, is_right=is_right)
