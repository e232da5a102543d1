# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Draw the figures of the documentation: the architecture, and how the methods work."""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.special import softmax

from astro_morph import MorphologyEncoder, plotting
from astro_morph.learning.training.views import CONTRAST, RandomViews
from astro_morph.models.calibration import (
    conformity_scores,
    expected_calibration_error,
    fit_temperature,
    prediction_sets,
    reliability,
)
from astro_morph.models.novelty import fit_novelty
from astro_morph.simulation import SimulatedSurvey

sys.path.insert(0, str(Path(__file__).parents[1] / 'docs'))
from rooms import read_modules, read_rooms

OTHERS = 6

# The architecture, in inches: the sides of the figure's parts, the height of a line of modules, and
# the width of a letter.
LEFT, FOLDER, RIGHT = 1.25, 0.8, 9.9
LINE, LETTER = 0.3, 0.066


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder of the figures, such as docs/_static')
    folder = parser.parse_args().folder
    figures = {
        'architecture.svg': draw_architecture,
        'moco.png': draw_moco,
        'calibration.png': draw_calibration,
        'sets.png': draw_sets,
        'novelty.png': draw_novelty,
    }
    # Text stays text in SVG files, and their identifiers are the same each time.
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'astro_morph'}):
        for name, draw in figures.items():
            metadata = {'Date': None} if name.endswith('.svg') else None
            draw().savefig(folder / name, dpi=130, metadata=metadata)


def draw_architecture():
    """Draw the rooms of the package from top to bottom, with the modules of each."""
    rows = {room: _place_modules(read_modules(room)) for room in read_rooms()}
    height = sum(LINE * (n_lines + 0.7) for _, n_lines in rows.values())
    figure = Figure(figsize=(RIGHT + 0.1, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, RIGHT + 0.1), ylim=(height, 0))
    axes.set_axis_off()
    top = 0
    for shade, (room, (modules, n_lines)) in zip(
        np.linspace(0.15, 0.5, len(rows)), rows.items(), strict=True
    ):
        colour = (0.2, 0.45, 0.75, shade)
        tall = LINE * (n_lines + 0.3)
        axes.add_patch(
            _box((0.1, top + 0.08), RIGHT - 0.1, tall, facecolor=(*colour[:3], shade / 2))
        )
        axes.text(0.2, top + 0.08 + tall / 2, room, va='center', fontsize=9, weight='bold')
        for name, x, width, line in modules:
            middle = top + 0.08 + LINE * (line + 0.65)
            if width:
                axes.add_patch(_box((x, middle - 0.08), width, 0.16, facecolor=colour))
            style = {'ha': 'center'} if width else {'style': 'italic'}
            axes.text(x + width / 2, middle, name, va='center', fontsize=7, **style)
        top += LINE * (n_lines + 0.7)
    return figure


def _place_modules(modules):
    """Return name, left side, width and line of each module or folder, and the number of lines."""
    places, x, line = [], LEFT, 0
    for path in modules:
        is_folder = path.endswith('/')
        name = path if is_folder else Path(path).stem
        width = 0 if is_folder else LETTER * len(name) + 0.08
        if is_folder or x + width > RIGHT:
            line += x > LEFT
            x = LEFT if is_folder else LEFT + FOLDER
        places.append((name, x, width, line))
        x += FOLDER if is_folder else width + 0.14
    return places, line + 1


def draw_moco():
    """Draw one step of Momentum Contrast, computed with the bundled encoder."""
    survey = SimulatedSurvey(n_galaxies=OTHERS + 2, random_state=4)
    # Larger than the views, so that the edges of the views show real sky.
    pictures = plotting.rgb(survey.fetch(survey.catalogue, size=112).images)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    pictures = pictures[:, 24:-24, 24:-24]
    draw = RandomViews(64, **CONTRAST)
    queries, keys = (draw(images, torch.Generator().manual_seed(seed)) for seed in (5, 11))
    query_view, key_views = (_as_pictures(views) for views in (queries, keys))

    # The first spiral is the query; the other galaxies are in the queue.
    own = list(survey.catalogue['morphology']).index('spiral')
    others = [row for row in range(len(pictures)) if row != own][:OTHERS]
    order = [own, *others]
    encoder = MorphologyEncoder.from_pretrained('sdss-moco-resnet18', verbose=0)
    features = encoder.transform(
        np.concatenate([query_view, key_views]).transpose(0, 3, 1, 2).copy()
    )
    features -= features.mean(axis=0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    alike = features[len(pictures) :][order] @ features[own]

    figure = Figure(figsize=(10, 4.6), layout='constrained')
    axes = figure.add_subplot(xlim=(0, 10), ylim=(0, 4.6), aspect='equal')
    axes.set_axis_off()

    def show(picture, x, y, side):
        axes.imshow(picture, extent=(x, x + side, y, y + side), origin='lower')
        axes.set(xlim=(0, 10), ylim=(0, 4.6))

    def arrow(start, end, **style):
        axes.annotate('', end, start, arrowprops={'arrowstyle': '->', 'color': '0.3', **style})

    def say(x, y, text, **style):
        axes.text(x, y, text, ha='center', va='center', fontsize=9, **style)

    show(pictures[own], 0.1, 1.75, 1.1)
    say(0.65, 1.55, 'galaxy')
    for y, picture, name in [(3.0, query_view[own], 'view'), (0.5, key_views[own], 'other view')]:
        arrow((1.3, 2.3), (1.95, y + 0.55))
        show(picture, 2.0, y, 1.1)
        say(2.55, y - 0.2, name)
        arrow((3.2, y + 0.55), (3.65, y + 0.55))
    for y, name in [(3.55, 'encoder'), (1.05, 'slow copy')]:
        axes.add_patch(_box((3.75, y - 0.4), 1.3, 0.8, facecolor=(0.2, 0.45, 0.75, 0.25)))
        say(4.4, y, name)
    arrow((4.4, 3.05), (4.4, 1.55), linestyle='--')
    say(4.4, 2.3, '1 % of the weights\nper step', backgroundcolor='white')
    arrow((5.1, 3.55), (6.1, 3.05))
    arrow((5.1, 1.05), (6.1, 1.6))

    say(6.55, 4.45, 'queue')
    say(8.5, 4.45, 'similarity of the features')
    for row, (picture, value) in enumerate(zip(key_views[order], alike, strict=True)):
        y = 3.7 - 0.6 * row
        show(picture, 6.3, y, 0.52)
        colour = 'tab:orange' if row == 0 else 'tab:blue'
        axes.barh(y + 0.26, 1.3 * value, left=8.2, height=0.3, color=colour)
    axes.plot([8.2, 8.2], [0.05, 4.25], color='0.3', linewidth=0.8)
    say(7.3, 3.97, 'other view', color='tab:orange')
    return figure


def draw_calibration():
    """Draw the reliability of an overconfident classifier before and after temperature scaling."""
    logits, target = _simulated_logits(4000)
    temperature = fit_temperature(logits[:2000], target[:2000])
    figure = Figure(figsize=(8, 3.8), layout='constrained')
    for axes, divisor, title in zip(
        figure.subplots(1, 2, sharey=True), (1, temperature), ('before', 'after'), strict=True
    ):
        probabilities = softmax(logits[2000:] / divisor, axis=1)
        confidence = probabilities.max(axis=1)
        is_right = probabilities.argmax(axis=1) == target[2000:]
        _, mean, accuracy = reliability(confidence, is_right)
        error = expected_calibration_error(confidence, is_right)
        axes.plot([0, 1], [0, 1], color='0.7', linestyle=':')
        axes.plot(mean, accuracy, 'o-')
        axes.set(xlim=(0.2, 1.02), ylim=(0.2, 1.02), xlabel='confidence', aspect='equal')
        axes.set_title(f'{title}: T = {divisor:.2f}, error {error:.3f}', fontsize=10)
    figure.axes[0].set_ylabel('accuracy')
    return figure


def draw_sets():
    """Draw the threshold of conformal sets, and the coverage of the sets."""
    logits, target = _simulated_logits(4000)
    probabilities = softmax(logits, axis=1)
    rows = np.arange(len(target))
    held_out = conformity_scores(probabilities)[rows, target][:2000]
    nominal = np.linspace(0.5, 0.99, 25)
    is_held = [
        prediction_sets(probabilities[2000:], held_out, coverage=coverage)[
            rows[:2000], target[2000:]
        ]
        for coverage in nominal
    ]
    figure = Figure(figsize=(8, 3.8), layout='constrained')
    scores, curve = figure.subplots(1, 2)
    scores.hist(held_out, bins=40, color='tab:blue', alpha=0.7)
    threshold = np.sort(held_out)[int(np.ceil(2001 * 0.9)) - 1]
    scores.axvline(threshold, color='tab:orange', label='90 % are below')
    scores.set(xlabel='score of the true class', ylabel='number of held-out galaxies')
    scores.legend(loc='upper left', fontsize=8)
    curve.plot([0.5, 1], [0.5, 1], color='0.7', linestyle=':')
    curve.plot(nominal, np.mean(is_held, axis=1), '.-')
    curve.set(xlabel='nominal coverage', ylabel='fraction of sets with the true class')
    curve.set_aspect('equal')
    return figure


def draw_novelty():
    """Draw the p-value of novelty in a plane of two features."""
    random = np.random.default_rng(0)
    known, new = (_moon(random, n) for n in (500, 2000))
    novelty = fit_novelty(known, random_state=0)
    grid = np.stack(np.meshgrid(np.linspace(-4, 4, 121), np.linspace(-4, 4, 121)), axis=-1)
    values = novelty(torch.from_numpy(grid.reshape(-1, 2))).numpy().reshape(121, 121)
    figure = Figure(figsize=(8, 3.8), layout='constrained')
    plane, curve = figure.subplots(1, 2)
    levels = [0.001, 0.01, 0.1, 0.3, 1]
    filled = plane.contourf(
        grid[..., 0], grid[..., 1], values.clip(0.001), levels, cmap='Blues_r', norm='log'
    )
    plane.plot(*known.T, '.', markersize=2, color='black')
    plane.set(xlabel='feature 1', ylabel='feature 2', aspect='equal')
    figure.colorbar(filled, ax=plane, label='p-value', shrink=0.8)
    p = np.sort(novelty(torch.from_numpy(new)).numpy())
    curve.loglog(p, np.arange(1, len(p) + 1) / len(p))
    curve.plot([0.003, 1], [0.003, 1], color='0.7', linestyle=':')
    curve.set(xlabel='p', ylabel='fraction of new points below p', xlim=(3e-3, 1), ylim=(3e-3, 1))
    return figure


def _box(corner, width, height, *, boxstyle='round,pad=0.04', facecolor='none'):
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(
        corner,
        width,
        height,
        boxstyle=boxstyle,
        facecolor=facecolor,
        edgecolor='0.3',
        linewidth=0.8,
    )


def _as_pictures(views):
    return (255 * views.clamp(0, 1)).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _simulated_logits(n):
    """Draw logits of four classes that are too large by a factor of two."""
    random = np.random.default_rng(1)
    logits = random.normal(scale=1.8, size=(n, 4))
    cumulative = softmax(logits, axis=1).cumsum(axis=1)
    target = (random.random((n, 1)) > cumulative).sum(axis=1).clip(max=3)
    return 2 * logits, target


def _moon(random, n):
    """Draw points along an arc."""
    angle = random.uniform(0, np.pi, n)
    points = 2 * np.stack([np.cos(angle), np.sin(angle) - 0.5], axis=1)
    return points + random.normal(scale=0.3, size=(n, 2))


if __name__ == '__main__':
    main()
