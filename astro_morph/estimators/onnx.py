# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""OnnxClassifier, OnnxVotes, OnnxRegressor: predict from an ONNX file, without PyTorch."""

import numpy as np

from astro_morph.estimators.numbers import NumberPredictor
from astro_morph.estimators.predictor import ClassPredictor, Predictor, VotePredictor
from astro_morph.models.onnx_model import OnnxModel

__all__ = ['OnnxClassifier', 'OnnxRegressor', 'OnnxVotes']

# The class that reads a model of each kind.
READERS = {'classes': 'OnnxClassifier', 'votes': 'OnnxVotes', 'numbers': 'OnnxRegressor'}


class _OnnxPredictor(Predictor):
    """Mixin that reads ``model_`` from a file; for scikit-learn it is a fitted estimator."""

    def __init__(self, path, source, size, verbose, *, predicts):
        self.source = source
        self.size = size
        self.verbose = verbose
        self.model_ = OnnxModel(path)
        self.cost_ = self.model_.cost
        came = self.model_.spec.predicts
        if came != predicts:
            msg = f'{str(path)!r} holds {self.model_.spec}; read it with {READERS[came]}'
            raise ValueError(msg)

    def __repr__(self):
        return f'<{type(self).__name__}: {self.model_.spec}>'

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_clone__(self):
        return self  # nothing is fitted

    def __sklearn_tags__(self):
        from sklearn.utils import ClassifierTags, RegressorTags, Tags, TargetTags

        is_classifier = hasattr(self, 'classes_')
        return Tags(
            estimator_type='classifier' if is_classifier else 'regressor',
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags() if is_classifier else None,
            regressor_tags=None if is_classifier else RegressorTags(),
        )


class OnnxClassifier(_OnnxPredictor, ClassPredictor):
    """
    Label galaxies with a model written by `MorphologyClassifier.to_onnx`, without PyTorch.

    Parameters
    ----------
    path : path-like
        The ONNX file.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where a catalogue's cutouts come from, as for `MorphologyClassifier`.
    size : str or `~astropy.units.Quantity`, default=None
        What the cutouts span, for a model whose cutouts follow a column of sizes: a column or an
        expression in its place, such as ``'3.28 * my_r90'``, or an angle.
    label_column : str, default='morphology'
        Column of the true classes, for `score`, `evaluate`, `report` and `query`.
    verbose : int, default=1
        0 shows no progress.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The classes.
    cost_ : `~astro_morph.models.onnx_model.Cost` or None
        Accuracy lost in the export.

    Raises
    ------
    ValueError
        If the file is no classifier of this package.

    See Also
    --------
    MorphologyClassifier : Trains and writes such models.

    Examples
    --------
    >>> import tempfile
    >>> from astro_morph import MorphologyClassifier, OnnxClassifier
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=40, random_state=0)
    >>> classifier = MorphologyClassifier(survey, size=32, strategy='linear', verbose=0)
    >>> path = f'{tempfile.mkdtemp()}/morphology.onnx'
    >>> cost = classifier.fit(survey.catalogue).to_onnx(path)
    >>> bool((OnnxClassifier(path, survey).predict(survey.catalogue)
    ...       == classifier.predict(survey.catalogue)).all())
    True
    """

    def __init__(self, path, source='auto', *, size=None, label_column='morphology', verbose=1):
        super().__init__(path, source, size, verbose, predicts='classes')
        self.label_column = label_column
        self.classes_ = np.array(self.model_.spec.classes)


class OnnxVotes(_OnnxPredictor, VotePredictor):
    """
    Predict votes with a model written by `MorphologyVotes.to_onnx`, without PyTorch.

    Parameters
    ----------
    path, source, size, verbose : object
        As for `OnnxClassifier`.
    voters : str or float, default=None
        As for `MorphologyVotes`, for `score`.
    columns : sequence of str, default=None
        As for `MorphologyVotes`.

    Attributes
    ----------
    answers_ : ndarray of str, shape (n_answers,)
        The answers, as ``<question>_<answer>``, in the order of the predictions.
    cost_ : `~astro_morph.models.onnx_model.Cost` or None
        Change of the predictions in the export.

    Raises
    ------
    ValueError
        If the file is no model of votes of this package.

    See Also
    --------
    MorphologyVotes : Trains and writes such models.

    Examples
    --------
    >>> import tempfile
    >>> from astro_morph import MorphologyVotes, OnnxVotes
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=40, kinds=['edge_on', 'round'], random_state=0)
    >>> catalogue = survey.catalogue
    >>> catalogue['n_yes'] = 36 * (catalogue['morphology'] == 'edge_on') + 2
    >>> catalogue['n_no'] = 40 - catalogue['n_yes']
    >>> tree = {'edge_on': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}}
    >>> path = f'{tempfile.mkdtemp()}/votes.onnx'
    >>> cost = MorphologyVotes(tree, survey, size=32, verbose=0).fit(catalogue).to_onnx(path)
    >>> OnnxVotes(path, survey, verbose=0).predict(catalogue).shape
    (40, 2)
    """

    def __init__(self, path, source='auto', *, size=None, voters=None, columns=None, verbose=1):
        super().__init__(path, source, size, verbose, predicts='votes')
        self.voters = voters
        self.columns = columns
        self.answers_ = np.array(self.model_.spec.classes)


class OnnxRegressor(_OnnxPredictor, NumberPredictor):
    """
    Predict numbers with a model written by `MorphologyRegressor.to_onnx`, without PyTorch.

    Parameters
    ----------
    path, source, size, verbose : object
        As for `OnnxClassifier`.
    target : str or sequence of str, default=None
        Columns of the true numbers, for `score` and `evaluate`; the names of the numbers if None.

    Attributes
    ----------
    targets_ : ndarray of str, shape (k,)
        Names of the numbers.
    units_ : list of `~astropy.units.Unit` or None
        Their units.
    cost_ : `~astro_morph.models.onnx_model.Cost` or None
        Change of the predictions in the export.

    Raises
    ------
    ValueError
        If the file is no model of numbers of this package.

    See Also
    --------
    MorphologyRegressor : Trains and writes such models.

    Examples
    --------
    >>> import tempfile
    >>> from astro_morph import MorphologyRegressor, OnnxRegressor
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=40, random_state=0)
    >>> path = f'{tempfile.mkdtemp()}/numbers.onnx'
    >>> regressor = MorphologyRegressor('axis_ratio', survey, size=32, verbose=0)
    >>> cost = regressor.fit(survey.catalogue).to_onnx(path)
    >>> OnnxRegressor(path, survey, verbose=0).predict(survey.catalogue).shape
    (40,)
    """

    def __init__(self, path, source='auto', *, size=None, target=None, verbose=1):
        super().__init__(path, source, size, verbose, predicts='numbers')
        self.target = target
