# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Distil a model that averages eight views into one that needs one view, without labels."""

import copy
import dataclasses

import numpy as np
import torch
from scipy.special import softmax

from astro_morph.learning.fitting import usable
from astro_morph.learning.heads import MOST_SCORES, calibrate
from astro_morph.learning.objectives import Distillation
from astro_morph.learning.training.loop import adamw, train
from astro_morph.models.building import MEASURED
from astro_morph.models.calibration import split_outputs
from astro_morph.models.novelty import Novelty
from astro_morph.models.running import run_batches
from astro_morph.models.torch_model import TorchModel
from astro_morph.prediction.framing import fetch_framed
from astro_morph.prediction.predict import prepare, request
from astro_morph.utils.messages import as_written
from astro_morph.utils.progress import progress_bar

__all__ = ['distil']

# Galaxies that the student is calibrated on, and does not learn from.
HELD_OUT = 0.1
MOST_HELD_OUT = 500

# With fewer, the student forgets more than it learns.
FEWEST = 100

# The student starts from its teacher, and small steps keep what it knows. With batch norms as they
# are, the steps of SGD that a training takes diverge.
LEARNING_RATE = 3e-4
BATCH_SIZE = 64

# Views of galaxies that the student learns from, and the range of the passes over them.
VIEWS_WANTED = 40_000
EPOCHS_RANGE = (2, 30)

# Labels drawn for each galaxy held out: the noise of the draws is then far below that of galaxies.
DRAWS = 10


def distil(model, X, *, source='auto', max_time=None, seed=0, verbose=True):
    """
    Train a copy of a model to predict from one view what the model predicts from all its views.

    A prediction then takes an eighth of the time. The student starts from the model and learns its
    logits, features and novelty on galaxies that need no labels, see
    `~astro_morph.learning.objectives.distillation.Distillation`. A tenth of the galaxies, at most
    500, is held out. On these, labels drawn from the probabilities of the model calibrate the
    student: its temperature, and the scores of its sets or intervals.

    Parameters
    ----------
    model : `~astro_morph.models.torch_model.TorchModel`
        The teacher, a model of images, which is not changed.
    X : object
        Samples as in `~astro_morph.cutouts.as_cutouts`, a hundred or more.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Source of a catalogue's cutouts.
    max_time : float, default=None
        Seconds after which the training ends; no limit if None.
    seed : int, default=0
        Seed of the galaxies held out, the views and the labels drawn.
    verbose : bool, default=True
        Whether to show the progress.

    Returns
    -------
    student : `~astro_morph.models.torch_model.TorchModel`
        The student, whose specification has one view.
    history : list of dict
        A record an epoch.

    Raises
    ------
    ValueError
        If the model takes plain features, or there are fewer than a hundred images.
    """
    if not model.spec.bands:
        msg = 'this model takes plain features, and only a model of images can be distilled'
        raise ValueError(msg)
    cutouts = usable(prepare(model.spec, fetch_framed(X, **request(model.spec, source))))
    if len(cutouts) < FEWEST:
        msg = (
            f'{as_written("X")} has {len(cutouts)} images, expected at least {FEWEST} to distil a '
            'model; pass more galaxies of the survey, which need no labels'
        )
        raise ValueError(msg)
    order = np.random.default_rng(seed).permutation(len(cutouts))
    n_held_out = min(round(HELD_OUT * len(order)), MOST_HELD_OUT)
    held_out, learnt = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
    with progress_bar(len(cutouts), 'teacher', verbose=verbose) as bar:
        targets = run_batches(model.with_texture(), cutouts, bar=bar)

    student = TorchModel(
        dataclasses.replace(model.spec, views=1), copy.deepcopy(model.network), device=model.device
    )
    student.network.views = 1
    history = _train(
        student,
        _stretched(model.network, cutouts[learnt]),
        [torch.from_numpy(target[learnt]).float() for target in targets],
        views=model.spec.views,
        max_time=max_time,
        random_state=seed,
        verbose=verbose,
    )
    outputs = run_batches(student.with_texture(), cutouts[held_out])
    teachers = [target[held_out] for target in targets]
    _match_novelty(student, outputs[2], teachers[2])
    return _calibrated(student, outputs[0], teachers[0], seed), history


@torch.inference_mode()
def _stretched(network, cutouts):
    """Return stretched images in half precision."""
    stretch = copy.deepcopy(network.stretch).cpu()
    images = np.empty(cutouts.shape, np.float16)
    for start in range(0, len(cutouts), MEASURED):
        part = slice(start, start + MEASURED)
        images[part] = stretch(torch.from_numpy(cutouts.images[part].astype(np.float32)))
    return images


def _train(student, images, targets, *, views, **options):
    network = student.network.cpu()
    network.encoder.requires_grad_(True)
    objective = Distillation(network, targets, views=views)
    objective.to(student.device, memory_format=torch.channels_last)
    history = train(
        objective,
        images,
        adamw(objective, learning_rate=LEARNING_RATE),
        epochs=int(np.clip(VIEWS_WANTED // len(images), *EPOCHS_RANGE)),
        batch_size=BATCH_SIZE,
        device=student.device,
        description='one look',
        **options,
    )
    network.requires_grad_(False)
    network.to(student.device).eval()
    return history


def _match_novelty(student, texture, teachers):
    """Scale the distances of the galaxies held out by what the student's are larger."""
    novelty = student.network.novelty
    if not isinstance(novelty, Novelty) or len(novelty.held_out) == 0:
        return
    came, expected = (
        novelty.distance(torch.from_numpy(values).to(student.device)).median()
        for values in (texture, teachers)
    )
    novelty.held_out.mul_(came / expected)


def _calibrated(student, outputs, teachers, seed):
    """Calibrate a student on labels or numbers drawn from the predictions of its teacher."""
    random, spec = np.random.default_rng(seed), student.spec
    if spec.predicts == 'classes' and spec.conformity:
        target = _draw_classes(softmax(teachers, axis=1), random)
        # Undivided, as the temperature is fitted anew.
        logits = np.repeat(outputs * student.network.temperature.item(), DRAWS, axis=0)
        conformity = calibrate(student.network, logits, target.ravel(), np.ones(len(logits)))
        spec = dataclasses.replace(spec, conformity=conformity)
    if spec.predicts == 'numbers':
        spec = dataclasses.replace(
            spec, numbers=_draw_scores(spec.numbers, outputs, teachers, random)
        )
    return TorchModel(spec, student.network, device=student.device)


def _draw_classes(probabilities, random):
    """Draw classes of each galaxy, (n, DRAWS)."""
    cumulative = np.cumsum(probabilities, axis=1)[:, np.newaxis]
    thresholds = random.uniform(0, cumulative[..., -1:], (len(probabilities), DRAWS, 1))
    return (thresholds > cumulative).sum(axis=2)


def _draw_scores(numbers, outputs, teachers, random):
    """Return descriptions of numbers with the scores of a student, for numbers drawn."""
    predicted, scale = split_outputs(outputs)
    expected, of_teacher = split_outputs(teachers)
    described = {}
    for column, (name, number) in enumerate(numbers.items()):
        if number['scores']:
            errors = random.choice(number['scores'], len(outputs)) * of_teacher[:, column]
            scores = (expected[:, column] + errors - predicted[:, column]) / scale[:, column]
            number = number | {'scores': scores[:MOST_SCORES].tolist()}
        described[name] = number
    return described
