# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A tree of questions of a citizen science project: its names, and the votes for its answers."""

import copy

import numpy as np

__all__ = ['VoteTree']

# Keys of a question.
_KEYS = {'answers', 'asked_after'}

# A fraction of 1, with a margin for rounding.
_ROUNDED_ONE = 1.001


class VoteTree:
    """
    The questions of a citizen science project, some of which are asked only after certain answers.

    Parameters
    ----------
    questions : dict
        A dictionary for each question, each question after those that lead to it. ``'answers'``
        maps each answer to the column of its votes. ``'asked_after'`` lists the answers to earlier
        questions that lead to this one, as ``{question: [answer, ...]}``; without it, every
        volunteer is asked.

    Attributes
    ----------
    questions : dict
        A copy of the parameter.
    names : tuple of str
        Name of each answer: ``<question>_<answer>``.
    columns : tuple of str
        Column of each answer.
    question : ndarray of int
        Number of the question that each answer belongs to.
    leading : list of list of int
        For each question the numbers of the answers that lead to it; empty if all are asked.

    Raises
    ------
    ValueError
        If a question has fewer than two answers, if two answers have the same column, or if a
        question is asked after an answer that does not precede it.

    Examples
    --------
    >>> from astro_morph.catalog.vote_tree import VoteTree
    >>> tree = VoteTree({
    ...     'shape': {'answers': {'smooth': 'n_smooth', 'featured': 'n_featured'}},
    ...     'bar': {
    ...         'answers': {'yes': 'n_bar', 'no': 'n_no_bar'},
    ...         'asked_after': {'shape': ['featured']},
    ...     },
    ... })
    >>> tree.names
    ('shape_smooth', 'shape_featured', 'bar_yes', 'bar_no')
    >>> tree.asked([[0.75, 0.25, 0.5, 0.5]])
    array([[1.  , 0.25]])
    """

    def __init__(self, questions):
        _check(questions)
        # A copy, so that a model does not change with the caller's dictionary.
        self.questions = questions = copy.deepcopy(questions)
        answers = [(name, answer) for name in questions for answer in questions[name]['answers']]
        self.names = tuple(f'{name}_{answer}' for name, answer in answers)
        self.columns = tuple(questions[name]['answers'][answer] for name, answer in answers)
        self.question = np.array([list(questions).index(name) for name, _ in answers])
        for what, values in (('name', self.names), ('column', self.columns)):
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                msg = f'tree has two answers of the {what} {sorted(twice)}; each needs its own'
                raise ValueError(msg)
        numbers = {answer: number for number, answer in enumerate(answers)}
        self.leading = [
            [numbers[pair] for pair in _leading(question)] for question in questions.values()
        ]
        self._first = np.flatnonzero(np.diff(self.question, prepend=-1))

    def totals(self, values):
        """Sum values of shape (n, n_answers) over the answers to each question."""
        return np.add.reduceat(values, self._first, axis=1)

    def asked(self, fractions):
        """
        Return the fraction of the volunteers that is asked each question.

        Parameters
        ----------
        fractions : array_like, shape (n, n_answers)
            Fraction of those asked the question that give each answer.

        Returns
        -------
        asked : ndarray, shape (n, n_questions)
            The fractions; 1 for a question that every volunteer is asked.
        """
        fractions = np.asarray(fractions, float)
        asked = np.ones((len(fractions), len(self.questions)))
        for number, leading in enumerate(self.leading):
            if leading:
                arriving = fractions[:, leading] * asked[:, self.question[leading]]
                asked[:, number] = arriving.sum(axis=1)
        return asked

    def counts(self, values, *, voters=None):
        """
        Return the number of votes for each answer.

        Parameters
        ----------
        values : array_like, shape (n, n_answers)
            The votes for each answer or, if ``voters`` is given, their fraction of those who were
            asked. A question with a value that is negative or not finite has no votes.
        voters : float or array_like, shape (n,), default=None
            Number of volunteers who looked at each galaxy; None if ``values`` are votes.

        Returns
        -------
        counts : ndarray, shape (n, n_answers)
            The number of votes, which need not be whole; zero where nobody was asked.

        Raises
        ------
        ValueError
            If the values have another shape, are fractions without ``voters``, or counts with it.
        """
        values = np.asarray(values, float)
        if values.ndim != 2 or values.shape[1] != len(self.names):
            msg = (
                f'y has votes of shape {values.shape}, expected (n, {len(self.names)}): one column '
                'for each answer of tree'
            )
            raise ValueError(msg)
        is_valid = np.isfinite(values) & (values >= 0)
        is_known = self.totals(~is_valid) == 0
        values = np.where(is_known[:, self.question], values, 0)
        _check_kind(values, are_fractions=voters is not None)
        if voters is None:
            return values
        totals = self.totals(values)
        # The sum of rounded fractions is not exactly 1.
        fractions = values / np.where(totals > 0, totals, 1)[:, self.question]
        voters = np.broadcast_to(np.asarray(voters, float), len(values))
        voters = np.where(np.isfinite(voters) & (voters > 0), voters, 0)
        return fractions * (voters[:, np.newaxis] * self.asked(fractions))[:, self.question]


def _leading(question):
    """List the pairs of question and answer that lead to a question."""
    asked_after = question.get('asked_after', {})
    return [(name, answer) for name, answers in asked_after.items() for answer in answers]


def _check(questions):
    """Check that questions form a tree."""
    if not isinstance(questions, dict) or not questions:
        msg = f'tree must be a dictionary with a dictionary for each question, got {questions!r}'
        raise ValueError(msg)
    answers_before = set()
    for name, question in questions.items():
        expected = "{'answers': {answer: column}, 'asked_after': {question: [answer, ...]}}"
        if not isinstance(question, dict) or not {'answers'} <= set(question) <= _KEYS:
            msg = f'tree has {question!r} for the question {name!r}, expected {expected}'
            raise ValueError(msg)
        answers = question['answers']
        are_answers = isinstance(answers, dict) and len(answers) > 1
        if not are_answers or not all(isinstance(text, str) for text in [name, *answers]):
            msg = (
                f'tree has the answers {answers!r} to {name!r}, expected a dictionary that maps '
                'two answers or more, as text, to their columns'
            )
            raise ValueError(msg)
        unknown = [pair for pair in _leading(question) if pair not in answers_before]
        if unknown:
            msg = (
                f'tree: {name!r} is asked after {unknown}, expected answers to earlier questions: '
                f'{sorted(answers_before)}'
            )
            raise ValueError(msg)
        answers_before |= {(name, answer) for answer in answers}


def _check_kind(values, *, are_fractions):
    """Check for fractions in place of counts, which would silently spoil all uncertainties."""
    largest = values.max(initial=0)
    are_small = largest <= _ROUNDED_ONE
    if are_fractions and not are_small:
        msg = (
            f'y has votes up to {largest:g}, expected fractions of those who were asked, because '
            'voters is given; leave voters out if they are counts'
        )
        raise ValueError(msg)
    if not are_fractions and are_small and np.any(values != np.round(values)):
        msg = (
            'y has votes that are all fractions, expected counts; pass voters=, the number of '
            'volunteers who looked at each galaxy or the name of its column'
        )
        raise ValueError(msg)
