# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MorphologyVotes: predict how volunteers would vote on the questions of a decision tree."""

import dataclasses
from numbers import Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data

import astro_morph
from astro_morph.catalog.vote_tree import GALAXY_ZOO, VoteTree, galaxy_zoo
from astro_morph.cutouts import CutoutSource, holds_images
from astro_morph.estimators.encoder import MorphologyEncoder
from astro_morph.estimators.predictor import VotePredictor, read_votes, refuse_no_votes
from astro_morph.estimators.starting import starting_encoder
from astro_morph.estimators.trained import TrainedPredictor
from astro_morph.learning.fitting import fetch_and_clean, seeded, usable
from astro_morph.learning.labels import weights_of
from astro_morph.learning.subjects.votes import fit_votes_head
from astro_morph.learning.training.devices import choose_device
from astro_morph.models.building import build_model
from astro_morph.models.encoders.resnet import ARCHITECTURES
from astro_morph.models.networks import VIEWS
from astro_morph.models.running import run_batches
from astro_morph.models.spec import ModelSpec
from astro_morph.models.torch_model import TorchModel, build_network
from astro_morph.prediction.votes import check_columns
from astro_morph.utils.progress import progress_bar

__all__ = ['MorphologyVotes']


class MorphologyVotes(TrainedPredictor, VotePredictor, RegressorMixin, BaseEstimator):
    """
    Predict how volunteers would vote on the questions of a citizen science project.

    A linear layer on the frozen features of an encoder predicts the concentrations of a Dirichlet
    distribution for each question; the votes are a Dirichlet-multinomial draw from it (Walmsley
    et al. 2022, MNRAS 509, 3966). So three votes of four weigh less than thirty of forty, a
    question that nobody was asked weighs nothing, and each prediction has its own uncertainty.

    Parameters
    ----------
    tree : dict or str, default=None
        The questions, the columns of the votes for their answers, and after which answers a
        question is asked, see `~astro_morph.catalog.vote_tree.VoteTree`; or the name of a project,
        such as ``'decals-dr5'``, see `~astro_morph.catalog.vote_tree.galaxy_zoo`. Required by
        `fit`.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where a catalogue's cutouts come from, as for `~astro_morph.MorphologyClassifier`.
    voters : str or float, default=None
        How many people looked at a galaxy, as a column or as one number for all, if the columns
        hold fractions of those who were asked. If None, the columns hold counts.
    columns : sequence of str, default=None
        What `annotate` writes: kinds of columns, of ``'fraction'``, ``'std'``, ``'dirichlet'``,
        ``'votes'``, ``'entropy'`` and ``'asked'``, and probabilities of paths, such as
        ``'spirals = featured and not edge-on and spiral'``; see
        `~astro_morph.prediction.votes.vote_columns`. If None, fractions, their standard deviations
        and who is asked. A file of the model does not hold them: pass them to `load` too.
    encoder : str or MorphologyEncoder, default='auto'
        The encoder of the features: ``'auto'`` or a name for a bundled one, ``'moco'`` to pretrain
        on all rows first, ``'auto+moco'`` to continue the bundled one on all rows, ``'random'`` for
        random weights, the path of a saved one, or an encoder; one that is not fitted is fitted on
        all rows.
    size, bands, preprocessing, device, random_state, verbose : object
        As for `~astro_morph.MorphologyClassifier`.
    max_time : float or `~astropy.units.Quantity`, default=None
        Time after which pretraining ends, in seconds if it has no unit; no limit if None.
    architecture : {'resnet18', 'resnet34', 'resnet50'}, default='resnet18'
        The encoder, where it starts from random weights.
    views : {'all', 'rotations'}, default='all'
        What predictions average over, as for `~astro_morph.MorphologyClassifier`.

    Attributes
    ----------
    answers_ : ndarray of str, shape (n_answers,)
        The answers, as ``<question>_<answer>``, in the order of the predictions.
    encoder_ : MorphologyEncoder or None
        The encoder of the features; None for random weights.
    model_ : `~astro_morph.models.torch_model.TorchModel`
        The network and its specification.

    See Also
    --------
    MorphologyClassifier : Learns classes from labels.
    OnnxVotes : The same predictions without PyTorch.

    Examples
    --------
    >>> from astro_morph import MorphologyVotes
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=40, kinds=['edge_on', 'round'], random_state=0)
    >>> catalogue = survey.catalogue
    >>> catalogue['n_yes'] = 36 * (catalogue['morphology'] == 'edge_on') + 2
    >>> catalogue['n_no'] = 40 - catalogue['n_yes']
    >>> tree = {'edge_on': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}}
    >>> votes = MorphologyVotes(tree, survey, size=32, verbose=0).fit(catalogue)
    >>> votes.predict(catalogue).shape
    (40, 2)
    >>> votes.annotate(catalogue).colnames[-4:]
    ['morph_edge_on_no', 'morph_edge_on_no_std', 'morph_flags', 'morph_status']
    """

    _parameter_constraints = {
        'tree': [dict, StrOptions(set(GALAXY_ZOO))],
        'source': [str, CutoutSource],
        'voters': [None, str, Interval(Real, 0, None, closed='neither')],
        'columns': [None, str, 'array-like'],
        'encoder': [str, MorphologyEncoder],
        'size': MorphologyEncoder._parameter_constraints['size'],
        'bands': [None, str, 'array-like'],
        'preprocessing': MorphologyEncoder._parameter_constraints['preprocessing'],
        'device': [str, torch.device],
        'max_time': MorphologyEncoder._parameter_constraints['max_time'],
        'random_state': ['random_state'],
        'verbose': ['verbose'],
        'architecture': [StrOptions(set(ARCHITECTURES))],
        'views': [StrOptions(set(VIEWS))],
    }

    def __init__(
        self,
        tree=None,
        source='auto',
        *,
        voters=None,
        columns=None,
        encoder='auto',
        size=None,
        bands=None,
        preprocessing='auto',
        device='auto',
        max_time=None,
        random_state=None,
        verbose=1,
        architecture='resnet18',
        views='all',
    ):
        self.tree = tree
        self.source = source
        self.voters = voters
        self.columns = columns
        self.encoder = encoder
        self.size = size
        self.bands = bands
        self.preprocessing = preprocessing
        self.device = device
        self.max_time = max_time
        self.random_state = random_state
        self.verbose = verbose
        self.architecture = architecture
        self.views = views

    def fit(self, X, y=None, sample_weight=None):
        """
        Learn from the rows with votes.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            A catalogue, positions, cutouts, images (n, band, y, x), or plain features (n, d).
        y : array_like, shape (n, n_answers), default=None
            The votes, as in the columns of the tree, which are read if None. A question with a
            masked, negative or infinite value has no votes.
        sample_weight : array_like, shape (n,), default=None
            Weight of each row; equal weights if None.

        Returns
        -------
        self : MorphologyVotes
            The fitted estimator.

        Raises
        ------
        ValueError
            If ``tree`` is no tree of questions, or there are no votes, or no images.
        """
        self._validate_params()
        tree = VoteTree(self._questions())
        check_columns(self.columns, tree)
        if not holds_images(X):
            X = validate_data(self, X, dtype=np.float64)
        counts = read_votes(self, X, y, tree)
        is_voted = counts.any(axis=1)
        weight = np.zeros(len(counts))
        weight[is_voted] = weights_of(sample_weight, counts, np.flatnonzero(is_voted))
        is_voted &= weight > 0
        refuse_no_votes(is_voted)
        encode = self._encode_images if holds_images(X) else self._encode_features
        model, features, rows = encode(X, is_voted)
        model.network.head = fit_votes_head(
            features, counts[rows], tree, sample_weight=weight[rows]
        )
        spec = dataclasses.replace(model.spec, classes=tree.names, tree=tree.questions)
        model = TorchModel(spec, model.network, device=model.device)
        self.model_ = model.stamped(astro_morph.__version__)
        self.answers_ = np.array(tree.names)
        return self

    def _questions(self):
        return galaxy_zoo(self.tree) if isinstance(self.tree, str) else self.tree

    def _adopt(self, model, path):
        self._check_predicts('votes', model, path)
        self.tree = model.spec.tree
        self.model_ = model
        self.answers_ = np.array(model.spec.classes)

    def _targets(self, X, y):
        return None

    def _encode_images(self, X, is_voted):
        """Return the model of the encoder, the features of rows with votes, and their numbers."""
        raw, clean, preprocessing = fetch_and_clean(self, X)
        is_voted = is_voted & clean.is_ok
        refuse_no_votes(is_voted, of=' of the rows with an image')
        rows = np.flatnonzero(is_voted)
        self.encoder_ = starting_encoder(self, raw)
        start = self.encoder_ and self.encoder_.model_
        with seeded(self.random_state):
            model = build_model(
                raw,
                usable(clean),
                architecture=self.architecture,
                start=start,
                preprocessing=preprocessing,
                is_frozen=True,
                device=choose_device(self.device),
                views=VIEWS[self.views],
            )
        with progress_bar(len(rows), 'encoding', verbose=bool(self.verbose)) as bar:
            return model, run_batches(model, clean[rows], bar=bar)[1], rows

    def _encode_features(self, X, is_voted):
        """Return a model of plain features, those of rows with votes, and their numbers."""
        spec = ModelSpec(architecture='features', views=1)
        model = TorchModel(spec, build_network(spec, n_features=X.shape[1]))
        self.encoder_ = None
        rows = np.flatnonzero(is_voted)
        return model, X[rows], rows
