# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the catalogue and the model that a command names, and find the source of its images."""

from astro_morph.models.weights import bundled_names

__all__ = [
    'check_exists',
    'find_source',
    'is_cutout_file',
    'load_model',
    'make_folder',
    'name_beside',
    'read_catalog',
    'report_counts',
]


def check_exists(path):
    """Return the path of a file, or raise an error if there is no such file."""
    if not path.is_file():
        msg = f'there is no file {str(path)!r}; check its name and folder'
        raise FileNotFoundError(msg)
    return path


def is_cutout_file(path):
    """Return whether an existing file holds cutouts, not a catalogue."""
    from astro_morph.cutouts.storage import ENDINGS, holds_cutouts

    return check_exists(path).suffix in ENDINGS and holds_cutouts(path)


def read_catalog(path):
    """Read a file of a catalogue or of cutouts."""
    from astro_morph.catalog.io.tables import read_table
    from astro_morph.cutouts import CutoutSet

    if is_cutout_file(path):
        return CutoutSet.read(path)
    try:
        return read_table(path)
    except (OSError, ValueError) as error:
        msg = (
            f'the catalogue {str(path)!r} cannot be read; check that the file is complete and '
            f'its name has the ending of its format: {error}'
        )
        raise ValueError(msg) from error


def find_source(arguments, X, *, bands=None):
    """Return the source of the images of a catalogue; cutouts need none."""
    from astro_morph.cutouts import CutoutSet, as_source

    if isinstance(X, CutoutSet):
        return 'auto'
    return as_source(
        arguments.source,
        X,
        bands=bands or None,
        coord_columns=arguments.coord_columns,
        folder=arguments.X.parent,
    )


def load_model(path, **parameters):
    """Load a classifier: a bundled one, or one in a file of PyTorch or ONNX."""
    is_bundled = str(path) in bundled_names()
    if not is_bundled and check_exists(path).suffix == '.onnx':
        from astro_morph.estimators.onnx import OnnxClassifier

        return OnnxClassifier(path, **parameters)
    from astro_morph.estimators.classifier import MorphologyClassifier

    load = MorphologyClassifier.from_pretrained if is_bundled else MorphologyClassifier.load
    return load(str(path), **parameters)


def name_beside(path, word):
    """Return the path of a file beside a catalogue, with a word in its name."""
    plain = path.with_suffix('') if path.suffix == '.gz' else path
    return plain.with_stem(f'{plain.stem}-{word}')


def make_folder(path):
    """Make the folder of an output file before the work starts."""
    path.parent.mkdir(parents=True, exist_ok=True)


def report_counts(counts, what):
    """Print how many galaxies have a result, and why the others have none."""
    reasons = ''.join(f', {n} {reason}' for reason, n in counts.most_common() if reason != 'ok')
    print(f'{counts["ok"]} of {counts.total()} galaxies have {what}{reasons}')
