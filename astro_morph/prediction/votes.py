# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Turn the outputs of a model of votes into columns: fractions, concentrations, paths and more."""

import numpy as np
from astropy.table import Column, Table
from scipy.stats import entropy

from astro_morph.catalog.vote_tree import VotePath, VoteTree
from astro_morph.models.dirichlet import concentrations, expected_fractions
from astro_morph.utils.messages import as_written

__all__ = ['KINDS', 'check_columns', 'vote_columns']

# Kinds of columns that can be asked for; the first four have a value for each answer.
KINDS = ('fraction', 'std', 'dirichlet', 'votes', 'entropy', 'asked')

# People who look at a galaxy, for expected votes: Galaxy Zoo retires most after about as many.
VOTERS = 40

_PROBABILITY = 'stat.probability;src.morph.type'


def check_columns(columns, tree):
    """
    Split columns that are asked for into kinds and paths.

    Parameters
    ----------
    columns : sequence of str or None
        Each is one of ``KINDS`` or a path, as ``'<name> = <path>'``.
    tree : `~astro_morph.catalog.vote_tree.VoteTree`
        The questions.

    Returns
    -------
    kinds : list of str
        The kinds.
    paths : dict
        The `~astro_morph.catalog.vote_tree.VotePath` of each name.

    Raises
    ------
    ValueError
        If a column is neither, or a path names no answers of the tree.

    Examples
    --------
    >>> from astro_morph.catalog.vote_tree import VoteTree
    >>> from astro_morph.prediction.votes import check_columns
    >>> tree = VoteTree({'bar': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}})
    >>> kinds, paths = check_columns(['fraction', 'unbarred = not bar'], tree)
    >>> kinds, paths['unbarred'].allowed
    (['fraction'], {0: {1}})
    """
    if isinstance(columns, str):
        columns = [columns]
    kinds, paths = [], {}
    for column in columns or ():
        name, is_path, text = str(column).partition('=')
        if is_path and name.strip() in paths:
            msg = f'{as_written("columns")} has two paths of the name {name.strip()!r}; rename one'
            raise ValueError(msg)
        if is_path and name.strip():
            paths[name.strip()] = VotePath(text, tree)
        elif column in KINDS:
            kinds.append(column)
        else:
            msg = (
                f'{as_written("columns")} has {column!r}, expected one of {KINDS}, or a path such '
                "as 'spirals = featured and not edge-on and spiral'"
            )
            raise ValueError(msg)
    return list(dict.fromkeys(kinds)), paths


def vote_columns(spec, logits, *, columns=None):
    """
    Build the columns of predicted votes, in the order in which a table shows them.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of a model of votes.
    logits : ndarray, shape (n, n_answers)
        Its outputs; NaN in the rows without a prediction.
    columns : sequence of str, default=None
        What to write, as in `check_columns`. Of the kinds, ``'fraction'`` is the expected fraction
        of those who are asked that gives an answer, ``'std'`` its standard deviation,
        ``'dirichlet'`` its concentration, ``'votes'`` the expected number of votes if 40 people
        look at the galaxy, ``'entropy'`` that of a question's expected fractions, in bits, and
        ``'asked'`` the expected fraction of people who are asked a question. Their names end in
        the kind. A path is the probability that a volunteer gives these answers. By default,
        ``<question>_<answer>`` is the fraction, beside its ``_std``, and ``_asked`` for questions
        that not all are asked.

    Returns
    -------
    table : `~astropy.table.Table`
        The n rows of the columns, with descriptions and UCDs.
    """
    tree = VoteTree(spec.tree)
    kinds, paths = check_columns(columns, tree)
    is_short = columns is None
    kinds = ('fraction', 'std', 'asked') if is_short else kinds
    alpha = concentrations(logits)
    values = _values(alpha, tree)
    table = Table()
    for number, (question, leading) in enumerate(zip(tree.questions, tree.leading, strict=True)):
        for i in np.flatnonzero(tree.question == number):
            for kind in kinds:
                if kind in _OF_ANSWERS:
                    ucd, text = _OF_ANSWERS[kind]
                    is_bare = is_short and kind == 'fraction'
                    name = tree.names[i] if is_bare else f'{tree.names[i]}_{kind}'
                    _add(table, name, values[kind][:, i], ucd, text.format(tree.names[i]))
        for kind in kinds:
            if kind in _OF_QUESTIONS and (leading or not (is_short and kind == 'asked')):
                ucd, text = _OF_QUESTIONS[kind]
                _add(table, f'{question}_{kind}', values[kind][:, number], ucd, text + question)
    for name, path in paths.items():
        probability = path.probability(values['fraction'])
        _add(table, name, probability, _PROBABILITY, f'Probability of the votes: {path.text}')
    return table


_OF_ANSWERS = {
    'fraction': (_PROBABILITY, 'Expected fraction of votes for {}, of those who are asked'),
    'std': ('stat.stdev;src.morph.type', 'Standard deviation of the fraction of votes for {}'),
    'dirichlet': ('stat.param;src.morph.type', 'Dirichlet concentration of the votes for {}'),
    'votes': ('stat.value;src.morph.type', f'Expected number of votes for {{}} of {VOTERS} people'),
}
_OF_QUESTIONS = {
    'entropy': ('stat.param;src.morph.type', 'Shannon entropy in bits of the votes on '),
    'asked': (_PROBABILITY, 'Expected fraction of people who are asked about '),
}


def _values(alpha, tree):
    """Return the values of each kind, with a column for each answer or question."""
    mean, std = expected_fractions(alpha, tree)
    asked = tree.asked(mean)
    bits = [
        entropy(mean[:, tree.question == number], base=2, axis=1)
        for number in range(len(tree.questions))
    ]
    return {
        'fraction': mean,
        'std': std,
        'dirichlet': alpha,
        'votes': VOTERS * asked[:, tree.question] * mean,
        'entropy': np.column_stack(bits),
        'asked': asked,
    }


def _add(table, name, values, ucd, description):
    # In single precision, as probabilities of classes are.
    column = Column(values.astype(np.float32), name=name, description=description)
    column.meta['ucd'] = ucd
    table.add_column(column, rename_duplicate=True)
