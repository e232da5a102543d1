# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The estimator that predicts how volunteers would vote."""

import dataclasses
from numbers import Real

import numpy as np
import torch
from astropy.coordinates import SkyCoord
from astropy.table import Column, Table
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

import astro_morph
from astro_morph.catalog import as_table, read_numbers, write_numbers
from astro_morph.catalog.vote_tree import VoteTree
from astro_morph.cutouts import CutoutSource, catalog_of, holds_images
from astro_morph.estimators.encoder import MorphologyEncoder
from astro_morph.estimators.starting import clone_with_encoder, starting_encoder
from astro_morph.learning.fitting import fetch, seeded, usable
from astro_morph.learning.training.loop import choose_device
from astro_morph.models.building import FEATURE_STAGES, describe, network_for
from astro_morph.models.networks import ARCHITECTURES, SQUARE_SYMMETRIES
from astro_morph.models.running import compute
from astro_morph.models.spec import ModelSpec
from astro_morph.models.torch_model import TorchModel, build_network
from astro_morph.prediction.annotate import provenance, rows_of
from astro_morph.prediction.dirichlet import (
    concentrations,
    expected_fractions,
    fit_head,
    log_likelihood,
)
from astro_morph.prediction.predict import predict_logits
from astro_morph.utils.progress import progress_bar

__all__ = ['MorphologyVotes']


class MorphologyVotes(RegressorMixin, BaseEstimator):
    """
    Predict how volunteers would vote on the questions of a citizen science project.

    From the frozen features of an encoder, a linear layer gives the concentrations of a Dirichlet
    distribution for each question, by which the votes are a Dirichlet-multinomial draw (Walmsley
    et al. 2022, MNRAS 509, 3966). So three votes of four weigh less than thirty of forty, a
    question that nobody was asked weighs nothing, and each prediction has its own uncertainty.

    Parameters
    ----------
    tree : dict
        The questions, the columns of the votes for their answers, and after which answers a
        question is asked, see `~astro_morph.catalog.vote_tree.VoteTree`. For Galaxy Zoo 2 it is
        `~astro_morph.catalog.vote_tree.galaxy_zoo_2`.
    source : `~astro_morph.cutouts.CutoutSource` or str, optional
        Where a catalogue's cutouts come from, as for `~astro_morph.MorphologyClassifier`.
    voters : str or float, optional
        For columns that hold fractions of those who were asked: how many people looked at a
        galaxy, as a column or as one number for all. By default the columns hold counts.
    encoder : str or MorphologyEncoder, optional
        What gives the features: ``'auto'`` or a name for a bundled one, ``'moco'`` to pretrain on
        all rows first, ``'random'`` for none, the path of a saved one, or an encoder; one that is
        not fitted is fitted on all rows.
    size, bands, preprocessing, device, random_state, verbose : object, optional
        As for `~astro_morph.MorphologyClassifier`.
    max_time : float or `~astropy.units.Quantity`, optional
        Time after which pretraining ends, in seconds if it has no unit.
    architecture : {'resnet18', 'resnet34', 'resnet50'}, optional
        The encoder, where it starts from random weights.

    Attributes
    ----------
    answers_ : ndarray of str, shape (n_answers,)
        The answers, as ``<question>_<answer>``, in the order of the predictions.
    encoder_ : MorphologyEncoder or None
        What the features come from.
    model_ : `~astro_morph.models.torch_model.TorchModel`
        The network and its specification.

    See Also
    --------
    MorphologyClassifier : Learns classes from labels.

    Examples
    --------
    >>> from astro_morph import MorphologyVotes
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=40, kinds=['edge_on', 'round'], random_state=0)
    >>> catalogue = survey.catalogue
    >>> catalogue['n_yes'] = 36 * (catalogue['morphology'] == 'edge_on') + 2
    >>> catalogue['n_no'] = 40 - catalogue['n_yes']
    >>> tree = {'edge_on': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}}
    >>> votes = MorphologyVotes(tree, survey, verbose=0).fit(catalogue)
    >>> votes.predict(catalogue).shape
    (40, 2)
    >>> votes.annotate(catalogue).colnames[-4:]
    ['morph_edge_on_no', 'morph_edge_on_no_std', 'morph_flags', 'morph_status']
    """

    _parameter_constraints = {
        'tree': [dict],
        'source': [str, CutoutSource],
        'voters': [None, str, Interval(Real, 0, None, closed='neither')],
        'encoder': [str, MorphologyEncoder],
        'size': MorphologyEncoder._parameter_constraints['size'],
        'bands': [None, str, 'array-like'],
        'preprocessing': MorphologyEncoder._parameter_constraints['preprocessing'],
        'device': [str, torch.device],
        'max_time': MorphologyEncoder._parameter_constraints['max_time'],
        'random_state': ['random_state'],
        'verbose': ['verbose'],
        'architecture': [StrOptions(set(ARCHITECTURES))],
    }

    def __init__(
        self,
        tree,
        source='auto',
        *,
        voters=None,
        encoder='auto',
        size=None,
        bands=None,
        preprocessing='auto',
        device='auto',
        max_time=None,
        random_state=None,
        verbose=1,
        architecture='resnet18',
    ):
        self.tree = tree
        self.source = source
        self.voters = voters
        self.encoder = encoder
        self.size = size
        self.bands = bands
        self.preprocessing = preprocessing
        self.device = device
        self.max_time = max_time
        self.random_state = random_state
        self.verbose = verbose
        self.architecture = architecture

    def fit(self, X, y=None, sample_weight=None):
        """
        Learn from the rows with votes.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            A catalogue, positions, cutouts, images (n, band, y, x), or plain features (n, d).
        y : array_like, shape (n, n_answers), optional
            The votes, as the columns of the tree hold them, which are read by default. A question
            with a masked, negative or infinite value has no votes.
        sample_weight : array_like, shape (n,), optional
            Weight of each row.

        Returns
        -------
        self : MorphologyVotes
            The fitted estimator.

        Raises
        ------
        ValueError
            If the tree is none, or there are no votes, or no images.
        """
        self._validate_params()
        tree = VoteTree(self.tree)
        counts = self._counts(X, y, tree)
        weight = _check_sample_weight(sample_weight, counts)
        is_voted = counts.any(axis=1) & (weight > 0)
        _refuse_none(is_voted)
        if holds_images(X):
            model, features, rows = self._encode(X, is_voted)
        else:
            X = validate_data(self, X, dtype=np.float64)
            spec = ModelSpec(architecture='features', views=1)
            model = TorchModel(spec, build_network(spec, n_features=X.shape[1]))
            rows = np.flatnonzero(is_voted)
            features, self.encoder_ = X[rows], None
        model.network.head = fit_head(
            features, counts[rows], tree.question, sample_weight=weight[rows]
        )
        spec = dataclasses.replace(model.spec, classes=tree.names, tree=tree.questions)
        self.model_ = TorchModel(spec, model.network, device=model.device).stamped(
            astro_morph.__version__
        )
        self.answers_ = np.array(tree.names)
        return self

    def predict(self, X, return_std=False):
        """
        Predict the fraction of votes for each answer.

        Parameters
        ----------
        X : object
            Samples as in `fit`.
        return_std : bool, optional
            Whether to give the uncertainty too.

        Returns
        -------
        fractions : ndarray, shape (n, n_answers)
            Of those who are asked a question, the expected fraction that gives each answer; NaN in
            the rows without an image.
        std : ndarray, shape (n, n_answers)
            With ``return_std``: the standard deviation of the fraction of all people who would
            give the answer. The votes of a few scatter more.
        """
        alpha, _, _ = self._concentrations(X)
        mean, std = _moments(VoteTree(self.model_.spec.tree), alpha)
        return (mean, std) if return_std else mean

    def score(self, X, y=None, sample_weight=None):
        """
        Give the log-likelihood of votes: the mean over the galaxies that have votes and an image.

        Parameters
        ----------
        X : object
            Samples as in `fit`.
        y : array_like, shape (n, n_answers), optional
            The votes; by default those of the columns of the tree.
        sample_weight : array_like, shape (n,), optional
            Weight of each sample.

        Returns
        -------
        log_likelihood : float
            Natural logarithm of the Dirichlet-multinomial likelihood of all questions.
        """
        check_is_fitted(self)
        tree = VoteTree(self.model_.spec.tree)
        counts = self._counts(X, y, tree)
        weight = _check_sample_weight(sample_weight, counts)
        alpha, status, _ = self._concentrations(X)
        rows = (status == 'ok') & counts.any(axis=1)
        _refuse_none(rows)
        log_likelihoods = log_likelihood(
            torch.from_numpy(counts[rows]), alpha[rows], torch.from_numpy(tree.question)
        )
        return float(np.average(log_likelihoods.sum(1), weights=weight[rows]))

    def annotate(self, table, *, prefix='morph_', overwrite=False):
        """
        Add the predictions to a catalogue.

        Parameters
        ----------
        table : object
            The catalogue, or other samples as in `fit`.
        prefix : str, optional
            What the names of the new columns begin with.
        overwrite : bool, optional
            Whether columns of these names may be replaced.

        Returns
        -------
        annotated : `~astropy.table.Table`
            A copy of the same class, length and order, with new columns, masked in the rows
            without an image: ``morph_<question>_<answer>`` and ``morph_<question>_<answer>_std``
            as `predict` gives them, and ``morph_<question>_asked``, the expected share of people
            who come to a question that not all are asked; then ``morph_flags`` and
            ``morph_status``.
        """
        check_is_fitted(self)
        tree = VoteTree(self.model_.spec.tree)
        catalogue = rows_of(table)

        def write(catalogue, alpha, status, flags):
            return write_numbers(
                catalogue,
                _columns(tree, *_moments(tree, alpha)),
                status=status,
                flags=flags,
                provenance=provenance(self.model_.spec),
                prefix=prefix,
                overwrite=overwrite,
            )

        # First on no rows: columns that may not be replaced are refused before the work.
        write(catalogue[:0], torch.zeros(0, len(tree.names)), [], [])
        return write(catalogue, *self._concentrations(table))

    def save(self, path):
        """
        Write the model to a file, which `load` reads.

        Parameters
        ----------
        path : path
            The file.
        """
        check_is_fitted(self)
        self.model_.save(path)

    @classmethod
    def load(cls, path, **parameters):
        """
        Read a model from a file; no code in the file is run.

        Parameters
        ----------
        path : path
            The file.
        **parameters
            Parameters of the estimator, such as ``source`` and ``device``.

        Returns
        -------
        votes : MorphologyVotes
            The fitted estimator.

        Raises
        ------
        ValueError
            If the file is not a model of votes.
        """
        votes = cls(None, **parameters)
        model = TorchModel.load(path, device=choose_device(votes.device))
        if model.spec.tree is None:
            msg = f'{str(path)!r} holds no model of votes; read it with MorphologyClassifier.load'
            raise ValueError(msg)
        votes.tree = model.spec.tree
        votes.model_ = model
        votes.answers_ = np.array(model.spec.classes)
        return votes

    def __sklearn_clone__(self):
        return clone_with_encoder(self)

    def __sklearn_is_fitted__(self):
        return hasattr(self, 'model_')

    def _counts(self, X, y, tree):
        """Give the votes for each answer, from y or the catalogue."""
        table = catalog_of(X) if holds_images(X) else None
        if table is None and (y is None or isinstance(self.voters, str)):
            msg = (
                f'{type(self).__name__} requires y to be passed and voters to be a number where '
                'X is no table that could hold the columns of votes'
            )
            raise ValueError(msg)
        values = tree.read(table) if y is None else np.ma.filled(np.ma.asarray(y, float), np.nan)
        check_consistent_length(X, values)
        voters = self.voters
        if isinstance(voters, str):
            voters = read_numbers(table, [voters], 'voters')[:, 0]
        return tree.counts(values, voters=voters)

    def _encode(self, X, is_voted):
        """Give the model of the encoder, the features of rows with votes, and which these are."""
        raw, cutouts, settings = fetch(self, X)
        pool = usable(cutouts)
        rows = np.flatnonzero(is_voted & cutouts.is_ok)
        _refuse_none(len(rows), of=' of the rows with an image')
        self.encoder_ = starting_encoder(self, raw)
        start = self.encoder_ and self.encoder_.model_
        with seeded(self.random_state):
            spec = describe(
                raw,
                architecture=start.spec.architecture if start else self.architecture,
                views=SQUARE_SYMMETRIES,
                stages=FEATURE_STAGES,
                preprocessing=settings,
                # A frozen encoder knows galaxies of one size.
                enlarge=not start or start.spec.input_size is not None,
            )
            network = network_for(pool, spec, start=start)
        model = TorchModel(spec, network, device=choose_device(self.device))
        with progress_bar(len(rows), 'encoding', verbose=bool(self.verbose)) as bar:
            return model, compute(model, cutouts[rows], bar=bar)[1], rows

    def _concentrations(self, X):
        """Give the concentrations of samples, NaN in the rows without an image; status, flags."""
        check_is_fitted(self)
        if not holds_images(X):
            X = validate_data(self, X, dtype=np.float64, reset=False)
        elif isinstance(X, SkyCoord):
            X = as_table(X)  # a single position has no length
        with progress_bar(len(X), 'predicting', verbose=bool(self.verbose)) as bar:
            logits, status, flags = predict_logits(self.model_, X, source=self.source, bar=bar)
        return concentrations(torch.from_numpy(logits).double()), status, flags


def _moments(tree, alpha):
    mean, std = expected_fractions(alpha, torch.from_numpy(tree.question))
    return mean.numpy(), std.numpy()


def _refuse_none(rows, *, of=''):
    if not np.any(rows):
        msg = f'none{of} has any votes; check the columns that tree names, and voters'
        raise ValueError(msg)


def _columns(tree, mean, std):
    """Build the columns of the predictions, in the order in which a table shows them."""
    asked = tree.asked(mean)
    columns = []

    def add(name, values, ucd, description):
        columns.append(Column(values, name=name, description=description, meta={'ucd': ucd}))

    for number, (question, parts) in enumerate(tree.questions.items()):
        for i in np.flatnonzero(tree.question == number):
            name = tree.names[i]
            add(
                name,
                mean[:, i],
                'stat.probability;src.morph.type',
                f'Expected fraction of votes for {name}, of those who are asked',
            )
            add(
                f'{name}_std',
                std[:, i],
                'stat.stdev;src.morph.type',
                f'Standard deviation of the fraction of votes for {name}',
            )
        if parts.get('asked_after'):
            add(
                f'{question}_asked',
                asked[:, number],
                'stat.probability;src.morph.type',
                f'Expected share of people who are asked about {question}',
            )
    return Table(columns)
