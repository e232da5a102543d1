# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Check the files that a command names, and read its catalogue, its images and its model."""

import os
import re
import tempfile
import warnings
import zipfile
from math import inf, prod
from pathlib import Path

from astro_morph.models.encoders.names import SCHEMES, split_name
from astro_morph.models.weights import bundled_names, bundled_path, holds_safetensors
from astro_morph.utils.files import check_new
from astro_morph.utils.messages import as_written, cut_list

__all__ = [
    'MODEL_ENDINGS',
    'check_encoder',
    'check_exists',
    'check_images',
    'check_labels',
    'check_memory',
    'check_model',
    'check_numbers',
    'check_output',
    'check_table_output',
    'find_source',
    'frame_model',
    'is_cutout_file',
    'load_estimator',
    'load_model',
    'make_folder',
    'name_beside',
    'read_catalog',
    'read_first_row',
    'refuse_nothing',
    'report_counts',
    'require_images',
]

# Endings of the files of models that PyTorch writes. A model of another name could be taken for a
# catalogue, or replace one.
MODEL_ENDINGS = ('.pt', '.pth', '.safetensors')

# Flux is read as float32.
BYTES_A_PIXEL = 4

# Statuses of rows for which no server and no file was asked, and of rows without an answer.
NOT_ASKED = {'no_coordinates', 'invalid_coordinates', 'no_size', 'no_path'}
NOT_ANSWERED = re.compile('connection|timeout|outage|http_429|http_5..')


def check_exists(path):
    """Return the path of a file, or raise an error if there is no such file."""
    if path.is_dir():
        msg = f'{str(path)!r} is a folder; name a file in it'
        raise IsADirectoryError(msg)
    if not path.is_file():
        msg = f'there is no file {str(path)!r}; check its name and folder'
        raise FileNotFoundError(msg)
    return path


def check_output(path, *, endings=(), overwrite=False, may_be_folder=False):
    """Check before the work that a file can be written, and may be."""
    if endings and not path.name.lower().endswith(endings):
        msg = f'the output {str(path)!r} must end in {" or ".join(endings)}'
        raise ValueError(msg)
    if path.is_dir() and not may_be_folder:
        msg = f'the output {str(path)!r} is a folder; name a file in it'
        raise IsADirectoryError(msg)
    check_new(path, overwrite=overwrite)
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        # Longer than the name of the file, as that of a temporary file beside it is.
        with tempfile.TemporaryFile(dir=folder, prefix=f'.{path.name}-'):
            pass
    except OSError as error:
        msg = f'the output {str(path)!r} cannot be written ({error.strerror}); name another file'
        raise type(error)(msg) from error


def check_table_output(path, *, overwrite=False):
    """Check before the work that a table can be written, and may be."""
    from astro_morph.catalog.io.tables import find_format

    find_format(path)
    check_output(path, overwrite=overwrite)


def is_cutout_file(path):
    """Return whether an existing file holds cutouts, not a catalogue; or a folder in its format."""
    from astro_morph.cutouts.storage import ENDINGS, holds_cutouts, is_folder

    if is_folder(path):
        return True
    check_exists(path)
    return path.suffix in ENDINGS and holds_cutouts(path)


def read_catalog(path):
    """Read a file of a catalogue or of cutouts."""
    from astro_morph.catalog.io.tables import read_table
    from astro_morph.cutouts import CutoutSet

    read = CutoutSet.read if is_cutout_file(path) else read_table
    return read(path)


def make_folder(path):
    """Make the folder of an output file."""
    path.parent.mkdir(parents=True, exist_ok=True)


def read_first_row(path):
    """Read the first row of a catalogue, which may be larger than memory, or a file of cutouts."""
    from astro_morph.catalog.io.chunks import TableChunks

    return read_catalog(path) if is_cutout_file(path) else TableChunks(path, 1)[0]


def check_labels(X, label_column, *, has_weak_negatives=False):
    """Check that a catalogue, or cutouts with one, has labels of at least two classes."""
    from astro_morph.cutouts import catalog_of
    from astro_morph.learning.labels import check_classes, labels_of

    if catalog_of(X) is None:
        msg = 'the file of cutouts has no catalogue, and therefore no labels; fetch it again'
        raise ValueError(msg)
    labels, is_labelled = labels_of(X, None, label_column)
    if not has_weak_negatives:
        labels = labels[is_labelled]
    check_classes(labels)


def check_numbers(X, columns, argument='target'):
    """Check that a catalogue, or cutouts with one, has columns of numbers."""
    from astro_morph.catalog.numbers import read_numbers
    from astro_morph.cutouts import catalog_of

    if catalog_of(X) is None:
        msg = 'the file of cutouts has no catalogue, and therefore no numbers; fetch it again'
        raise ValueError(msg)
    read_numbers(catalog_of(X), columns, argument)


def find_source(arguments, X, *, bands=None):
    """Return the source of the images of a catalogue; cutouts need none."""
    from astro_morph.cutouts import CutoutSet, ImageFiles, Mosaics, as_source

    if isinstance(X, CutoutSet):
        return 'auto'
    if arguments.image_column is not None:
        return ImageFiles(arguments.image_column, folder=arguments.X.parent)
    source = as_source(
        arguments.source,
        X,
        bands=bands or None,
        coord_columns=arguments.coord_columns,
        folder=arguments.X.parent,
        planes=arguments.planes,
    )
    if arguments.zero_point is not None:
        if not isinstance(source, Mosaics):
            msg = f'{as_written("zero_point")} is for FITS mosaics, not for {source!r}'
            raise ValueError(msg)
        source.zero_point = arguments.zero_point
    return source


def frame_model(model, size):
    """Return a model that asks for cutouts of another size, or refuse the size."""
    from astro_morph.prediction.framing import reframed

    if isinstance(size, int):
        msg = (
            f'{as_written("size", size)} is a number of pixels, but the model needs '
            f'{model.spec.size} pixels a side; name an expression of columns, or an angle'
        )
        raise ValueError(msg)
    if size is not None and model.spec.framing is None:
        msg = (
            f'{as_written("size")} is {str(size)!r}, but the cutouts of the model have one pixel '
            'scale, whatever the size of the galaxy; leave it out'
        )
        raise ValueError(msg)
    return reframed(model, size)


def check_encoder(encoder, *, names, argument='encoder'):
    """Check before the work that an encoder is one of some names, a bundled one, or a file."""
    names = [*names, *bundled_names()]
    if encoder not in names and not split_name(encoder) and not Path(encoder).is_file():
        msg = (
            f'{as_written(argument)} must be the file of an encoder, one of {names}, or a name '
            f'that begins with one of {list(SCHEMES)} and a colon; {encoder!r} is none of these'
        )
        raise ValueError(msg)


def check_images(source, X, *, size=None, bands=None, most_rows=None):
    """Check before the work that positions, size and bands are those of a catalogue's images."""
    from astro_morph.cutouts import CutoutSet
    from astro_morph.prediction.framing import fetch_framed

    if isinstance(X, CutoutSet):
        return
    known = getattr(source, 'bands', None)
    unknown = [] if bands in (None, 'rgb') or not known else [b for b in bands if b not in known]
    if unknown:
        msg = (
            f'{as_written("bands")} names {unknown}, which are not among the bands '
            f'{cut_list(known)} of the images; name some of these'
        )
        raise ValueError(msg)
    shape = fetch_framed(X[:0], source=source, size=size, bands=bands).shape[1:]
    check_memory(shape, min(len(X), most_rows or len(X)))


def check_memory(shape, n_rows):
    """Check before the work that the memory holds cutouts of a shape (band, y, x)."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') if os.name == 'posix' else inf
    needed = n_rows * prod(shape) * BYTES_A_PIXEL
    if needed > memory:
        msg = (
            f'{n_rows} cutouts of {shape[2]} x {shape[1]} pixels in {shape[0]} bands take '
            f'{needed / 1e9:.0f} GB, this machine has {memory / 1e9:.0f} GB; choose a smaller '
            f'{as_written("size")}'
        )
        raise ValueError(msg)


def load_model(path, *, may_be_encoder=False):
    """Load a model: a bundled one, or one in a file of PyTorch or ONNX."""
    name, path = str(path), check_model(path)
    if path.suffix == '.onnx':
        from astro_morph.models.onnx_model import OnnxModel

        return OnnxModel(path)
    from astro_morph.learning.training.devices import choose_device
    from astro_morph.models.torch_model import TorchModel

    model = TorchModel.load(path, device=choose_device('auto'))
    if not (model.spec.classes or may_be_encoder):
        msg = f'{name!r} holds an encoder, which has no classes; pass it to fit as --encoder'
        raise ValueError(msg)
    return model


def check_model(path):
    """Return the path of a model, or raise an error if there is none; nothing is loaded."""
    if str(path) in bundled_names():
        return bundled_path(str(path))
    if not path.exists() and path.name == str(path) and not path.suffix:
        msg = (
            f'there is neither a file nor a bundled model {str(path)!r}; name a file, or one of '
            f'{bundled_names()}'
        )
        raise FileNotFoundError(msg)
    is_torch = zipfile.is_zipfile(check_exists(path)) or holds_safetensors(path)
    if path.suffix != '.onnx' and not is_torch:
        msg = f'{str(path)!r} is no model of astro_morph; name a file that fit or export wrote'
        raise ValueError(msg)
    return path


def load_estimator(path, *, label_column, verbose):
    """Load the estimator of a model: a bundled one, or one in a file of PyTorch or ONNX."""
    path = check_model(path)
    predicts = load_model(path).spec.predicts
    parameters = {'verbose': verbose}
    if predicts == 'classes':
        parameters['label_column'] = label_column
    if path.suffix == '.onnx':
        from astro_morph.estimators.onnx import OnnxClassifier, OnnxRegressor, OnnxVotes

        readers = {'classes': OnnxClassifier, 'numbers': OnnxRegressor, 'votes': OnnxVotes}
        return readers[predicts](path, **parameters)
    from astro_morph.estimators.classifier import MorphologyClassifier
    from astro_morph.estimators.regressor import MorphologyRegressor
    from astro_morph.estimators.votes import MorphologyVotes

    readers = {
        'classes': MorphologyClassifier,
        'numbers': MorphologyRegressor,
        'votes': MorphologyVotes,
    }
    return readers[predicts].load(path, **parameters)


def name_beside(path, word):
    """Return the path of a file beside a catalogue, with a word in its name."""
    plain = path.with_suffix('') if path.suffix == '.gz' else path
    if path.is_dir():
        # The folder of cutouts is none of a table.
        plain = path.with_suffix('.parquet')
    return plain.with_stem(f'{plain.stem}-{word}')


def refuse_nothing(counts, text):
    """Raise an error if no galaxy has an image, and the network or the paths are the reason."""
    asked = {status for status in counts if status not in NOT_ASKED}
    if asked and all(map(NOT_ANSWERED.fullmatch, asked)):
        msg = f'{text}; check the network, and try again'
        raise ConnectionError(msg)
    if asked == {'not_found'}:
        msg = (
            f'{text}; relative paths start from the folder of the catalogue, and '
            f'{as_written("image_column")} names another column'
        )
        raise FileNotFoundError(msg)


def require_images():
    """Let a task fail if no galaxy has an image, for whatever reason."""
    from astro_morph.cutouts.outcome import NoImageWarning

    # Until the end of the task, see `astro_morph.cli.brief_warnings`.
    warnings.simplefilter('error', NoImageWarning)


def report_counts(counts, what):
    """Print how many galaxies have a result, and why the others have none."""
    reasons = ''.join(f', {n} {reason}' for reason, n in counts.most_common() if reason != 'ok')
    print(f'{counts["ok"]} of {counts.total()} galaxies have {what}{reasons}')
